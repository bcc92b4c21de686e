"""Renders templates; a value that is missing or a template that is wrong is told with its line."""

import traceback
from functools import cache
from typing import TYPE_CHECKING, Any

from trackstack import bundle
from trackstack.errors import TrackstackError

if TYPE_CHECKING:
    import jinja2


def render(name: str, values: dict[str, Any]) -> str:
    """Render one template.

    Args:
        name: its path below templates/, such as 'nginx/nginx.conf.j2'.
        values: every value that the template names; none is optional.

    Raises:
        TrackstackError: names template, line and problem.
    """
    # Here, because most commands render nothing.
    import jinja2  # noqa: PLC0415

    try:
        return _environment().get_template(name).render(values)
    except jinja2.TemplateNotFound as error:
        raise TrackstackError(f"There is no template {error.name}.") from error
    except jinja2.TemplateSyntaxError as error:
        raise TrackstackError(f"Template {error.name}, line {error.lineno}: {error}.") from error
    except jinja2.TemplateError as error:
        frames = traceback.extract_tb(error.__traceback__)
        folder = str(bundle.templates())
        line = next(
            (frame.lineno for frame in reversed(frames) if frame.filename.startswith(folder)), 0
        )
        raise TrackstackError(f"Template {name}, line {line}: {error}.") from error


@cache
def _environment() -> "jinja2.Environment":
    import jinja2  # noqa: PLC0415

    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(bundle.templates()),
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # noqa: S701  nginx, shell and ini files, not HTML
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
