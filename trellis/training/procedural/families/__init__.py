"""Object families: functions that lay out the parts of a batch of objects with a Builder."""

from collections.abc import Callable

from trellis.training.procedural.builder import Builder
from trellis.training.procedural.families import furniture, household

Family = Callable[[Builder], None]
FAMILIES: dict[str, Family] = {
    "chair": furniture.chair,
    "table": furniture.table,
    "mug": household.mug,
    "lamp": household.lamp,
}
