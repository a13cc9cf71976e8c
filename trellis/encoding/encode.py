"""What a model's encoder is shown of a mesh: voxels of the mesh in the model's cube, and numbers on each."""

from collections.abc import Callable

from torch import Tensor

from trellis.encoding.local_features import FEATURES, VoxelFeatures, local_features
from trellis.encoding.solid import THIN, SolidField
from trellis.encoding.source_mesh import DEFAULT_SIDE, SourceMesh, normalize_mesh
from trellis.encoding.voxelize import voxelize
from trellis.geometry.similarity import Similarity
from trellis.progress import Progress

THICKENED = "The mesh has sheets thinner than the model can tell; they were thickened to a quarter of a voxel."
# Mean image features [N, k] of the voxels int32 [N, 3] of a mesh in the unit cube, as the published encoder takes them.
ImageFeatures = Callable[[SourceMesh, Tensor], Tensor]


def cube_side(width: int) -> float:
    """How long objects are, in a cube of side 1, for an encoder whose input has `width` numbers a voxel."""
    return DEFAULT_SIDE if width == FEATURES else 1.0


def encoder_input(
    mesh: SourceMesh, *, width: int, resolution: int, image_features: ImageFeatures, progress: Progress | None = None
) -> tuple[VoxelFeatures, Similarity, tuple[str, ...]]:
    """The input of an encoder for a mesh of any size and place, the map that brought the mesh into the unit cube, and
    remarks for the user.

    width: of the encoder's input, which says what it sees in a voxel: 91 local numbers (the embedded model), whose
    objects are 0.95 long, else `image_features` (published ones), whose objects are 1 long. Raises InvalidInputError
    for a mesh without a surface, Cancelled within one step of a wish to stop.
    """
    placed = normalize_mesh(mesh, side=cube_side(width))
    if width == FEATURES:
        field = SolidField.create(placed.mesh, resolution=resolution, progress=progress)
        notes = (THICKENED,) if field.thin > THIN else ()
        return local_features(field, progress=progress), placed.to_cube, notes
    coords = voxelize(placed.mesh, resolution, progress=progress)
    return VoxelFeatures(coords, image_features(placed.mesh, coords), resolution), placed.to_cube, ()
