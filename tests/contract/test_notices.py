"""THIRD_PARTY_NOTICES.md names what is installed: every package that is asked for, and copyleft that comes with one."""

import re
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from installer.extras import EXTRAS, SOURCES

ROOT = Path(__file__).parents[2]
NOTICES = (ROOT / "THIRD_PARTY_NOTICES.md").read_text(encoding="utf-8")
FILES = ("requirements_1.txt", "requirements_2.txt", "requirements_dev.txt", "requirements_cluster.txt")
COPYLEFT = re.compile(r"\bA?L?GPL\b|\bMPL\b|Mozilla Public|General Public|TOST", re.IGNORECASE)


def asked_for(name: str) -> list[str]:
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    return [Requirement(line.split("#")[0]).name for line in lines if line.split("#")[0].strip()]


def is_named(package: str) -> bool:
    return re.search(rf"(?<![\w.-]){re.escape(package)}(?![\w-])", NOTICES, re.IGNORECASE) is not None


def licence_of(package: str) -> str:
    """What the package's own description says of its licence; a full text there counts by its first line."""
    data = distribution(package).metadata
    classifiers = [line for line in data.get_all("Classifier") or [] if line.startswith("License")]
    return " ".join([data.get("License-Expression") or "", (data.get("License") or "").split("\n")[0], *classifiers])


def with_what_comes_along(packages: list[str]) -> set[str]:
    found: set[str] = set()
    waiting = [canonicalize_name(name) for name in packages]
    while waiting:
        name = waiting.pop()
        try:
            needed = distribution(name).requires or []
        except PackageNotFoundError:  # of another platform
            continue
        if name not in found:
            found.add(name)
            for need in map(Requirement, needed):
                if need.marker is None or need.marker.evaluate({"extra": ""}):
                    waiting.append(canonicalize_name(need.name))
    return found


@pytest.mark.parametrize("name", FILES)
def test_every_package_that_is_asked_for_is_named(name: str) -> None:
    packages = asked_for(name)
    assert packages and [package for package in packages if not is_named(package)] == []


def test_copyleft_is_named_wherever_it_comes_from() -> None:
    packages = [name for file in FILES for name in asked_for(file)]
    copyleft = {name for name in with_what_comes_along(packages) if COPYLEFT.search(licence_of(name))}
    assert {"tqdm", "plyfile", "certifi"} <= copyleft  # the search finds what is known
    assert sorted(name for name in copyleft if not is_named(name)) == []


@pytest.mark.parametrize("extra", EXTRAS)
def test_optional_packages_are_named_with_their_licence(extra: str) -> None:
    assert is_named(extra) and SOURCES[extra].licence in NOTICES
