"""Mesh files: which are taken, and what of them their own file may not say."""

from typing import Annotated

from trellis.options import SOURCE, OneOf, Options, option

MESH_FORMATS = (".glb", ".gltf", ".obj", ".ply", ".stl")
UP_CHOICES = ("auto", "y", "z")
FRONT_CHOICES = ("auto", "0", "90", "180", "270")
UV_CHOICES = ("auto", "keep", "new", "tiles")
LARGEST_FILE = 256 << 20  # bytes of a mesh file that a client sends


class MeshOptions(Options):
    """How a mesh file that something is made of stands; an asset needs none of it."""

    up: Annotated[str, OneOf(UP_CHOICES)] = option(
        "auto",
        "Up axis",
        "Which axis of an OBJ, PLY or STL file points upwards; auto takes y for OBJ and z for PLY and STL.",
        group=SOURCE,
    )
    front: Annotated[str, OneOf(FRONT_CHOICES)] = option(
        "auto",
        "Front",
        "Degrees by which a mesh file is turned about the upward axis, so that it looks at whoever took the picture; "
        "auto finds that out.",
        group=SOURCE,
    )
