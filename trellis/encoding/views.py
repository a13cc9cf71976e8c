"""Pictures of a loaded mesh, and image features of many views gathered on voxels: input of the published encoder."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from trellis.conditioning import ImageEncoder
from trellis.conditioning.image_encoder import normalized
from trellis.encoding.colors import surface_colors
from trellis.encoding.lights import studio_light
from trellis.encoding.normals import face_normals
from trellis.encoding.source_mesh import SourceMesh, linear_from_srgb, srgb_from_linear
from trellis.errors import InvalidInputError
from trellis.geometry.cameras import Cameras, multiview_cameras
from trellis.ops.rasterize import TriangleSamples, rendering_device
from trellis.progress import Progress
from trellis.rendering.mesh import rasterize_mesh
from trellis.representations import Mesh
from trellis.stages import Stage

SHADINGS = ("none", "studio")
VIEWS = 150  # of the published training data


@dataclass(frozen=True)
class ViewImages:
    """V pictures of a mesh, each pixel the mean of its samples.

    color [V, 3, H, W] sRGB over black (premultiplied by alpha); alpha [V, H, W] coverage times the material's alpha;
    normal [V, 3, H, W] face normals towards the viewer in the world as (n + 1) / 2, 0.5 on the background.
    """

    color: Tensor
    alpha: Tensor
    normal: Tensor


def render_views(
    mesh: SourceMesh, cameras: Cameras, *, size: int, supersampling: int = 2, shading: str = "none"
) -> ViewImages:
    """Render a loaded mesh into V square pictures of `size` pixels, on the mesh's device; both sides are drawn.

    shading: `none` (the stored colours) or `studio`, the published lights on the normals of the file's
    corners where it states them (`trellis.encoding.lights`). supersampling: samples a pixel side, 1..8. Only the
    nearest surface is seen: nothing shows through a transparent one. Raises InvalidInputError for unusable options.
    """
    if shading not in SHADINGS:
        raise InvalidInputError(f"Unknown shading {shading!r}; choose one of {', '.join(SHADINGS)}.")
    if size < 1 or not 1 <= supersampling <= 8:
        raise InvalidInputError(f"Size must be positive and supersampling 1 to 8, not {size} and {supersampling}.")
    source = mesh.device
    mesh = mesh.to(rendering_device(source, "auto", mesh.vertices))
    plain, normals = Mesh(mesh.vertices, mesh.faces.int()), face_normals(mesh)[0]
    pictures = []
    for index in range(len(cameras)):
        camera = cameras[index : index + 1].to(mesh.device)
        samples = rasterize_mesh(plain, camera, size=size * supersampling)
        channels = _channels(mesh, normals, samples, camera, shading)
        pictures.append(F.avg_pool2d(channels[None], supersampling)[0] if supersampling > 1 else channels)
    stacked = torch.stack(pictures).to(source)
    return ViewImages(stacked[:, :3], stacked[:, 3], stacked[:, 4:7])


def _channels(mesh: SourceMesh, normals: Tensor, samples: TriangleSamples, camera: Cameras, shading: str) -> Tensor:
    """Premultiplied colour, alpha and encoded normal [7, H, W] of the samples of one picture."""
    mask = samples.mask
    face = samples.face_id[mask].long()
    colors = surface_colors(mesh, face, samples.barycentric[mask])
    weights = samples.barycentric[mask][..., None]
    place = (mesh.corners(face) * weights).sum(1)
    towards = F.normalize(camera.positions - place, dim=1)
    cosine = (normals[face] * towards).sum(1, keepdim=True)
    facing = torch.where(cosine < 0, -normals[face], normals[face])
    if shading == "studio":
        smooth = facing if mesh.normals is None else _smooth_normals(mesh.normals[face], weights, facing)
        lit = linear_from_srgb(colors[:, :3]) * studio_light(place, smooth)
        colors = torch.cat([srgb_from_linear(lit), colors[:, 3:]], 1)
    result = torch.zeros(*mask.shape, 7, device=mesh.device)
    result[..., 4:] = 0.5
    result[mask] = torch.cat([colors[:, :3] * colors[:, 3:], colors[:, 3:], facing * 0.5 + 0.5], 1)
    return result.permute(2, 0, 1)


def _smooth_normals(corners: Tensor, weights: Tensor, facing: Tensor) -> Tensor:
    """Interpolated normals [n, 3] on the side of `facing`, those of the faces, which stand in where there are none."""
    mixed = F.normalize((corners * weights).sum(1), dim=1)
    mixed = torch.where((mixed * facing).sum(1, keepdim=True) < 0, -mixed, mixed)
    return torch.where((mixed == 0).all(1, keepdim=True), facing, mixed)


def patch_features(encoder: ImageEncoder, pictures: Tensor) -> Tensor:
    """Features [V, C, h, w] of the patches of square `pictures` [V, 3, S, S] (0..1), after the encoder's last layer and
    before its norm. Raises InvalidInputError for pictures of another size than the encoder's.
    """
    if pictures.shape[-1] != encoder.image_size or pictures.shape[-2] != encoder.image_size:
        raise InvalidInputError(
            f"The image encoder takes {encoder.image_size} pixels, not {list(pictures.shape[-2:])}."
        )
    config = encoder.backbone.config
    tokens = encoder.backbone(normalized(pictures)).float()
    side = encoder.image_size // config.patch_size
    patches = tokens[:, 1 + config.num_register_tokens :]
    return patches.transpose(1, 2).reshape(len(pictures), -1, side, side)


def project_features(features: Tensor, cameras: Cameras, points: Tensor) -> Tensor:
    """Sums [n, C] over V views of `features` [V, C, h, w] where `points` [n, 3], in front of all cameras, project to.

    Bilinear between patch centres, and zero outside of the frame. Points are not tested for being hidden: so it was for
    the encoder that was trained on this.
    """
    placed = cameras.to(points.device)
    camera = points[None] @ placed.extrinsics[:, :3, :3].transpose(1, 2) + placed.extrinsics[:, None, :3, 3]
    pixel = (camera @ placed.intrinsics.transpose(1, 2))[:, :, None, :2] / camera[:, :, None, 2:]
    values = F.grid_sample(features, pixel * 2 - 1, mode="bilinear", padding_mode="zeros", align_corners=False)
    return values[..., 0].sum(0).T


def view_features(
    mesh: SourceMesh,
    coords: Tensor,
    encoder: ImageEncoder,
    *,
    resolution: int,
    views: int = VIEWS,
    progress: Progress | None = None,
) -> Tensor:
    """Features [N, C] of voxels `coords` [N, 3], the mean of `views` pictures, on the encoder's device.

    The mesh lies in the unit cube. Cameras, lights and the division by all views, in whose frame a voxel need not be,
    are those that the published encoder was trained with. Source: docs/developer/model-facts.md, section 11. Raises
    InvalidInputError when there are no views.
    """
    if views < 1:
        raise InvalidInputError(f"At least one view is needed, not {views}.")
    progress = progress or Progress()
    cameras = multiview_cameras(views, "")
    device = next(encoder.parameters()).device
    points = ((coords.to(device).float() + 0.5) / resolution) - 0.5
    total = torch.zeros((), device=device)
    for index in progress.steps(Stage.VIEWS, views):
        camera = cameras[index : index + 1]
        picture = render_views(mesh, camera, size=encoder.image_size, shading="studio").color.to(device)
        total = total + project_features(patch_features(encoder, picture), camera, points)
    return total / views
