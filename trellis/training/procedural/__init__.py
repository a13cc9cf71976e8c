"""Endless procedural objects: families of signed-distance parts with exact geometry, colours and pictures."""

from trellis.training.procedural.families import FAMILIES
from trellis.training.procedural.objects import HELD_OUT_SEEDS, PROGRAMS, TRAINING_SEEDS, ObjectBatch, sample_objects
from trellis.training.procedural.pictures import Pictures, render_pictures, render_views
from trellis.training.procedural.voxels import (
    VOXEL_FEATURES,
    occupancy,
    occupied_coords,
    voxel_features,
)
