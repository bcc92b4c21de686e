"""Google Cloud's REST interfaces, as far as the kit needs them, and their refusals in its words.

The endpoints may be others than Google's own, by the variables that Google's Terraform provider
reads for the same: GOOGLE_COMPUTE_CUSTOM_ENDPOINT and so on.
"""

import os
from collections.abc import Iterator
from typing import Any

import google.auth
from google.auth import exceptions
from google.auth.transport.requests import AuthorizedSession

from trackstack.errors import MissingError, TrackstackError, UsageError

_ENDPOINTS = {
    "compute": "https://compute.googleapis.com/compute/v1",
    "storage": "https://storage.googleapis.com/storage/v1",
    "secret_manager": "https://secretmanager.googleapis.com/v1",
    "resource_manager": "https://cloudresourcemanager.googleapis.com/v1",
    "sql": "https://sqladmin.googleapis.com/v1",
    "iam": "https://iam.googleapis.com/v1",
}
_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_SECONDS = 30
_SIGN_IN = "Sign in with `gcloud auth application-default login`; the same command then goes on."


class ApiError(TrackstackError):
    """Google refused a request.

    Attributes:
        status: of HTTP, such as 404.
        reason: Google's own word, such as 'PERMISSION_DENIED' or 'notFound'.
    """

    status: int
    reason: str


def credentials() -> tuple[Any, str | None]:
    """The application-default credentials, and the project they come with.

    Raises:
        MissingError: there are none.
        UsageError: the file that holds them is none, or is incomplete.
    """
    try:
        found: tuple[Any, str | None] = google.auth.default(scopes=[_SCOPE])
    except exceptions.DefaultCredentialsError as error:
        named = os.environ.get("GOOGLE_APPLICATION_CREDENTIALS")
        if named:
            raise UsageError(
                f"{named}, named by GOOGLE_APPLICATION_CREDENTIALS, holds no Google credentials.",
                "Name a service account's key, or the external-account file that your CI wrote; "
                "without that variable the application-default credentials are used.",
            ) from error
        raise MissingError(
            "There are no application-default credentials of Google Cloud here.", _SIGN_IN
        ) from error
    return found


class Api:
    """Requests as one person."""

    def __init__(self, credentials: Any) -> None:
        session: Any = AuthorizedSession
        self._session: Any = session(credentials)

    def get(self, service: str, path: str, **query: Any) -> dict[str, Any]:
        """One thing; ApiError with status 404 when there is none."""
        return self._ask("GET", service, path, query=query)

    def found(self, service: str, path: str, **query: Any) -> dict[str, Any] | None:
        """One thing, or None."""
        try:
            return self.get(service, path, **query)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def post(self, service: str, path: str, body: Any, **query: Any) -> dict[str, Any]:
        """Make something, or ask for something to be done."""
        return self._ask("POST", service, path, query=query, body=body)

    def patch(self, service: str, path: str, body: Any) -> dict[str, Any]:
        """Change something in part."""
        return self._ask("PATCH", service, path, body=body)

    def delete(self, service: str, path: str) -> None:
        """Remove something; what is gone is fine."""
        try:
            self._ask("DELETE", service, path)
        except ApiError as error:
            if error.status != 404:
                raise

    def pages(self, service: str, path: str, key: str, **query: Any) -> Iterator[Any]:
        """All of a list, page by page; nothing where there is no such list."""
        token = ""
        while True:
            asked = {**query, "pageToken": token} if token else query
            page = self.found(service, path, **asked) or {}
            inner = page.get(key, [])
            yield from inner.items() if isinstance(inner, dict) else inner
            token = page.get("nextPageToken", "")
            if not token:
                return

    def _ask(
        self, verb: str, service: str, path: str, query: Any = None, body: Any = None
    ) -> dict[str, Any]:
        url = f"{endpoint(service)}/{path}"
        try:
            answer = self._session.request(
                verb, url, params=query, json=body, timeout=_SECONDS, max_allowed_time=2 * _SECONDS
            )
        except exceptions.RefreshError as error:
            raise _no_token(error) from error
        except (exceptions.TransportError, OSError) as error:
            raise TrackstackError(
                "Google Cloud cannot be reached from here.", "Check the network and the proxy."
            ) from error
        if answer.status_code >= 400:
            raise _refused(verb, path, answer.status_code, answer.text, answer)
        return dict(answer.json() or {}) if answer.content else {}


def endpoint(service: str) -> str:
    """Where a service is asked, without a slash at the end."""
    given = os.environ.get(f"GOOGLE_{service.upper()}_CUSTOM_ENDPOINT")
    return (given or _ENDPOINTS[service]).rstrip("/")


def _no_token(error: Exception) -> TrackstackError:
    told = str(error)
    if "invalid_grant" in told or "reauth" in told.lower() or "expired" in told.lower():
        return TrackstackError("The Google Cloud credentials have expired.", _SIGN_IN)
    return TrackstackError(
        "Google Cloud gives no token for these credentials.",
        "In CI, see that the external-account file names a token that is there and not older than "
        "the job; on a laptop: `gcloud auth application-default login`.",
    )


def _refused(verb: str, path: str, status: int, text: str, answer: Any) -> ApiError:
    try:
        said = answer.json()["error"]
    except (ValueError, KeyError, TypeError):
        said = {}
    message = str(said.get("message", text))[:300].rstrip(".") or "no reason given"
    reason = str(said.get("status") or (said.get("errors") or [{}])[0].get("reason", ""))
    hint = None
    if status == 401:
        hint = _SIGN_IN
    elif status == 403 and "has not been used" in message:
        hint = "Enable that API, or have whoever owns the project do it."
    elif status == 403:
        hint = "Ask whoever owns the project; docs/gcp.md lists what each role needs."
    elif status == 429:
        hint = "Run the same command again in a minute."
    error = ApiError(f"Google Cloud refused {verb} {path.partition('?')[0]}: {message}.", hint)
    error.status, error.reason = status, reason
    return error
