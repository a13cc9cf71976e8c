"""Quality: how many faces and how large a texture the files of an asset get, by one name; stated once, here."""

from collections.abc import Mapping
from typing import Any

from trellis.errors import InvalidInputError

# `faces` is the most: a mesh that has fewer keeps them all.
QUALITIES: Mapping[str, Mapping[str, Any]] = {
    "draft": {"faces": 50_000, "texture_size": 1024},
    "standard": {"faces": 500_000, "texture_size": 2048},
    "high": {"faces": 1_000_000, "texture_size": 4096},
    "ultra": {"faces": 2_000_000, "texture_size": 4096},
}


def with_quality(values: Mapping[str, Any], quality: str | None) -> dict[str, Any]:
    """Options of a request with those that `quality` sets; what `values` states goes before it.

    None leaves `values` as they are. Raises InvalidInputError for an unknown name.
    """
    if quality is None:
        return dict(values)
    if quality not in QUALITIES:
        raise InvalidInputError(f"Unknown quality {quality!r}; choose one of {', '.join(QUALITIES)}.")
    chosen = dict(QUALITIES[quality])
    if "simplify" in values:  # it and faces exclude each other
        del chosen["faces"]
    return {**chosen, **values}
