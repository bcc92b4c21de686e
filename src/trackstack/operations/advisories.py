"""Versions of MLflow with a published hole that reaches a server over the network.

A short list, not a complete one: each row was read in the public record it names. A version
that no row fits is not thereby safe.
"""

from dataclasses import dataclass

from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

_CVE = "https://github.com/CVEProject/cvelistV5/blob/main/cves"
_PYSEC = "https://github.com/pypa/advisory-database/blob/main/vulns/mlflow"


@dataclass(frozen=True)
class Advisory:
    """One published hole.

    Attributes:
        affected: the versions that have it.
        allows: what it lets somebody do, to end a sentence with.
        source: the record that says so.
    """

    id: str
    affected: SpecifierSet
    allows: str
    source: str


def _row(name: str, affected: str, allows: str, source: str) -> Advisory:
    return Advisory(name, SpecifierSet(affected), allows, source)


ADVISORIES = (
    _row(
        "CVE-2026-116690",
        ">=3.10.0,<3.17.0",
        "read any file of the server",
        "https://github.com/mlflow/mlflow/security/advisories/GHSA-m65p-9j7q-6w33",
    ),
    _row(
        "CVE-2026-115886",
        ">=3.12.0rc0,<3.17.0",
        "make the server call other addresses",
        "https://github.com/mlflow/mlflow/security/advisories/GHSA-2wqp-q3c6-ccj5",
    ),
    _row(
        "CVE-2026-64849",
        "<3.15.0",
        "make the server call internal addresses and show the answer",
        f"{_CVE}/2026/64xxx/CVE-2026-64849.json",
    ),
    _row(
        "CVE-2026-71211",
        "<=3.14.0",
        "make the server call internal addresses, for anybody with a login",
        f"{_CVE}/2026/71xxx/CVE-2026-71211.json",
    ),
    _row(
        "CVE-2026-2614",
        "<3.10.0",
        "read any file of the server",
        f"{_CVE}/2026/2xxx/CVE-2026-2614.json",
    ),
    _row(
        "CVE-2026-2652",
        "<3.10.0",
        "get past MLflow's own login on some routes",
        f"{_CVE}/2026/2xxx/CVE-2026-2652.json",
    ),
    _row(
        "CVE-2026-2033", "<3.8.0rc0", "run code on the server", f"{_PYSEC}/PYSEC-2026-2658.yaml"
    ),
    _row(
        "CVE-2025-14279",
        "<3.5.0",
        "use the server from any web page by DNS rebinding",
        f"{_CVE}/2025/14xxx/CVE-2025-14279.json",
    ),
    _row(
        "CVE-2025-52967",
        "<2.22.2,>=0",
        "make the server call other addresses",
        "https://github.com/github/advisory-database/pull/6124",
    ),
    _row(
        "CVE-2025-52967",
        ">=3.0.0rc0,<3.1.0",
        "make the server call other addresses",
        f"{_CVE}/2025/52xxx/CVE-2025-52967.json",
    ),
    _row(
        "CVE-2023-6909", "<2.9.2", "read files of the server", f"{_PYSEC}/PYSEC-2023-252.yaml"
    ),
    _row(
        "CVE-2023-2356", "<2.3.1", "read files of the server", f"{_PYSEC}/PYSEC-2023-68.yaml"
    ),
    _row(
        "CVE-2023-1177", "<2.2.1", "read files of the server", f"{_PYSEC}/PYSEC-2023-29.yaml"
    ),
)  # fmt: skip


def affecting(version: str) -> list[Advisory] | None:
    """The rows that fit a version of MLflow, the newest first; None when it is no version."""
    try:
        parsed = Version(version)
    except InvalidVersion:
        return None
    return [row for row in ADVISORIES if row.affected.contains(parsed, prereleases=True)]
