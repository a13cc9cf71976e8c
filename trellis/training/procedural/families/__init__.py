"""Object families: functions that lay out the parts of a batch of objects with a Builder."""

from collections.abc import Callable

from trellis.training.procedural.builder import Builder
from trellis.training.procedural.families import (
    aircraft,
    animals,
    belongings,
    buildings,
    containers,
    creatures,
    figures,
    food,
    furniture,
    household,
    interior,
    machines,
    nature,
    outdoors,
    reptiles,
    structures,
    tools,
    vehicles,
    weapons,
)

Family = Callable[[Builder], None]
_MEMBERS: tuple[Family, ...] = (
    furniture.chair, furniture.table, furniture.sofa, furniture.bed,
    household.mug, household.lamp, household.bottle, household.teapot, household.cake, household.ice_cream,
    tools.sword, tools.hammer, tools.guitar, tools.key,
    vehicles.car, vehicles.truck, aircraft.aeroplane, vehicles.boat, aircraft.rocket, vehicles.train,
    nature.tree, nature.conifer, nature.mushroom, nature.cactus, nature.flower, nature.fruit,
    creatures.robot, creatures.snowman, creatures.fish, creatures.bird, creatures.quadruped, creatures.bear,
    buildings.house, buildings.castle, buildings.lighthouse, buildings.windmill,
    furniture.wardrobe, furniture.shelf, interior.bathtub, interior.toilet, interior.washbasin, interior.stairs,
    interior.plant, interior.television, interior.appliance,
    figures.person, figures.turtle, figures.creature, vehicles.bus, vehicles.tractor, aircraft.helicopter,
    buildings.church, household.chest, tools.shield,
    animals.insect, animals.crab, animals.octopus, reptiles.dinosaur, reptiles.dragon,
    structures.tower, structures.temple, outdoors.tent, outdoors.well, containers.barrel,
    weapons.tank, machines.motorcycle, weapons.cannon, machines.spaceship, machines.fan,
    belongings.lantern, belongings.helmet, belongings.shoe, food.burger, weapons.blaster,
)  # fmt: skip
FAMILIES: dict[str, Family] = {family.__name__: family for family in _MEMBERS}
