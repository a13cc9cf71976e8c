"""Texture atlases in numpy and scipy alone: charts, their flattening, and their packing; imports nothing heavier."""

from trellis.ops.atlas.atlas import Atlas, build_atlas
