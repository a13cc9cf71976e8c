"""Strict reading of a checkpoint's `representation_config`."""

from collections.abc import Collection, Mapping
from typing import Any

from trellis.errors import InvalidInputError


def require_keys(values: Mapping[str, Any], owner: str, *, required: Collection[str]) -> None:
    """Raise `InvalidInputError` when `values` lacks a required key or has another."""
    unknown = sorted(set(values) - set(required))
    if unknown:
        known = ", ".join(required)
        raise InvalidInputError(f"Unknown {owner} setting {', '.join(unknown)}; the known ones are: {known}.")
    missing = [key for key in required if key not in values]
    if missing:
        raise InvalidInputError(f"{owner} settings lack {', '.join(missing)}.")
