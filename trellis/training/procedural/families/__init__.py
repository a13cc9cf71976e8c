"""Object families: functions that lay out the parts of a batch of objects with a Builder."""

from collections.abc import Callable

from trellis.training.procedural.builder import Builder
from trellis.training.procedural.families import (
    buildings,
    creatures,
    furniture,
    household,
    interior,
    nature,
    things,
    tools,
    vehicles,
)

Family = Callable[[Builder], None]
_MEMBERS: tuple[Family, ...] = (
    furniture.chair, furniture.table, furniture.sofa, furniture.bed,
    household.mug, household.lamp, household.bottle, household.teapot, household.cake, household.ice_cream,
    tools.sword, tools.hammer, tools.guitar, tools.key,
    vehicles.car, vehicles.truck, vehicles.aeroplane, vehicles.boat, vehicles.rocket, vehicles.train,
    nature.tree, nature.conifer, nature.mushroom, nature.cactus, nature.flower, nature.fruit,
    creatures.robot, creatures.snowman, creatures.fish, creatures.bird, creatures.quadruped, creatures.bear,
    buildings.house, buildings.castle, buildings.lighthouse, buildings.windmill,
    interior.wardrobe, interior.shelf, interior.bathtub, interior.toilet, interior.washbasin, interior.stairs,
    interior.plant, interior.television, interior.appliance,
    things.person, things.turtle, things.creature, things.bus, things.tractor, things.helicopter, things.church,
    things.chest, things.shield,
)  # fmt: skip
FAMILIES: dict[str, Family] = {family.__name__: family for family in _MEMBERS}
