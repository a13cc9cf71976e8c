"""The families of models that the program knows: a new one is named here, and nowhere else."""

from trellis.families.family import Licence, ModelFamily, PublishedModel, SupportingModel, publication
from trellis.families.hunyuan_family import HUNYUAN
from trellis.families.trellis_family import TRELLIS

FAMILIES: tuple[ModelFamily, ...] = (TRELLIS, HUNYUAN)


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


def licence_of(name: str) -> Licence | None:
    """The terms that must be accepted before a published or a supporting model of this name is had, None without."""
    found = publication(name, FAMILIES)
    families = [found[1]] if found else [family for family in FAMILIES if name in family.supporting]
    return families[0].licence if families else None


def licences() -> dict[str, Licence]:
    """The terms that there are to accept, by name."""
    return {family.licence.name: family.licence for family in FAMILIES if family.licence is not None}
