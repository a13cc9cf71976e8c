"""The families of models that the program knows: a new one is named here, and nowhere else."""

from trellis.families.family import ModelFamily, PublishedModel, SupportingModel, publication
from trellis.families.trellis_family import TRELLIS

FAMILIES: tuple[ModelFamily, ...] = (TRELLIS,)


def published_models() -> dict[str, PublishedModel]:
    """The published models of all families by their short names."""
    return {name: model for family in FAMILIES for name, model in family.published.items()}


def supporting_models() -> dict[str, SupportingModel]:
    """The models that those of all families work with, by name."""
    return {name: model for family in FAMILIES for name, model in family.supporting.items()}


def published_name(name: str) -> str | None:
    """The short name of a published model; see `publication`."""
    found = publication(name, FAMILIES)
    return None if found is None else found[0]
