"""How each image of render_goldens.safetensors is rebuilt with this library."""

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from tests.parity import golden
from tests.parity.compare import Check, UnknownCaseError, missing
from trellis.geometry.cameras import Cameras, orbit_cameras
from trellis.ops.rasterize import FIELD_BACKENDS, GAUSSIAN_BACKENDS, TRIANGLE_BACKENDS
from trellis.rendering.gaussians import render_gaussians
from trellis.rendering.mesh import render_mesh
from trellis.rendering.radiance_field import render_radiance_field
from trellis.representations import GaussianCloud, GaussianConfig, Mesh, RadianceField

VIEWS = ((0.3, 0.4), (2.1, -0.2))  # yaw, pitch
GAUSSIAN_COUNTS = {"a": 400, "b": 1500}
LEVEL = 1 / 255
MESH_MAPS = ("color", "normal", "depth", "mask")
CPU = torch.device("cpu")
Representation = TypeVar("Representation", GaussianCloud, Mesh, RadianceField)
IMAGE_KEY = re.compile(r"gs_(?P<cloud>[ab])_(?P<view>[01])_(?P<back>black|white)|rf_(?P<rf>[01])|mesh_(?P<map>\w+)")


def camera(view: int) -> Cameras:
    yaw, pitch = VIEWS[view]
    return orbit_cameras([yaw], [pitch], radius=2.0, fov_degrees=40.0)


def gaussian_cloud(name: str) -> GaussianCloud:
    n = GAUSSIAN_COUNTS[name]
    tag = f"render_gs/{name}/"
    # One Gaussian a voxel of a one-voxel grid centred on 0: positions are set afterwards.
    config = GaussianConfig(num_gaussians=1, perturb_offset=False)
    raw = [
        torch.zeros(n, 3),
        golden.normal(tag + "dc", n, 1, 3)[:, 0],
        golden.normal(tag + "scale", n, 3) + 1.5,
        0.5 * golden.normal(tag + "rot", n, 4),
        2 * golden.normal(tag + "op", n, 1) + 1,
    ]
    cloud = GaussianCloud.from_features(
        torch.cat(raw, 1), torch.zeros(n, 3), resolution=1, config=config, offset_perturbation=torch.zeros(1, 3)
    )
    positions = 0.5 + 0.18 * golden.normal(tag + "xyz", n, 3) - 0.5
    return GaussianCloud(
        positions, cloud.features_dc, cloud.scales, cloud.rotations, cloud.opacities, filter_2d=cloud.filter_2d
    )


def radiance_field() -> RadianceField:
    res, n, rank, dim = 16, 300, 4, 8
    index = torch.randperm(res**3, generator=golden.generator("render_rf/coords"))[:n].sort().values
    coords = torch.stack([index // (res * res), index // res % res, index % res], 1)
    return RadianceField(
        positions=(coords + 0.5) / res,
        trivec=0.3 * golden.normal("render_rf/trivec", n, rank, 3, dim) + 1,
        density=4 * golden.normal("render_rf/density", n, rank).abs(),
        features_dc=golden.normal("render_rf/dc", n, rank, 1, 3)[:, :, 0],
        resolution=res,
    )


def tetrahedron() -> Mesh:
    corners = [[0.3, 0.3, 0.3], [-0.3, -0.3, 0.3], [-0.3, 0.3, -0.3], [0.3, -0.3, -0.3]]
    faces = [[0, 1, 2], [0, 3, 1], [0, 2, 3], [1, 3, 2]]
    attributes = torch.sigmoid(golden.normal("render_mesh/attr", 4, 6))
    return Mesh(torch.tensor(corners), torch.tensor(faces, dtype=torch.int32), attributes)


def kinds_of(backend: str) -> set[str]:
    """Which of the kinds of images (gs, rf, mesh) a back end draws."""
    sets = {"gs": GAUSSIAN_BACKENDS, "rf": FIELD_BACKENDS, "mesh": TRIANGLE_BACKENDS}
    return {kind for kind, backends in sets.items() if backend in backends}


def kind_of(key: str) -> str:
    """gs, rf or mesh for an image, extr or intr for a matrix."""
    return key.split("_")[0]


def other_images(size: int = 64) -> dict[str, Tensor]:
    """Another set of inputs of the same recipes, drawn by the reference back end: what a file of --renders holds."""
    keys = [f"gs_b_{view}_{back}" for view in (0, 1) for back in ("black", "white")] + ["rf_1"]
    with torch.no_grad():
        images = {key: rebuild_image(key, size, backend="reference") for key in keys}
        return images | {f"mesh_{name}": rebuild_image(f"mesh_{name}", 80, backend="reference") for name in MESH_MAPS}


def rebuild_image(key: str, size: int, *, backend: str = "auto", device: torch.device = CPU) -> Tensor:
    """The image of a key, [3, H, W] or [H, W] on the CPU, drawn by a back end on a device.

    Raises `UnknownCaseError` for a key without a recipe.
    """
    recipe = IMAGE_KEY.fullmatch(key)
    if recipe is None:
        raise UnknownCaseError("no recipe for this image")
    options = {"size": size, "backend": backend}
    if recipe["cloud"]:
        cloud, view = on_device(gaussian_cloud(recipe["cloud"]), device), camera(int(recipe["view"]))
        return render_gaussians(cloud, view, background=recipe["back"], **options).color[0].cpu()
    if recipe["rf"]:
        return (
            render_radiance_field(on_device(radiance_field(), device), camera(int(recipe["rf"])), **options)
            .color[0]
            .cpu()
        )
    images = render_mesh(on_device(tetrahedron(), device), camera(0), supersampling=4, **options)
    if recipe["map"] not in vars(images):
        raise UnknownCaseError("no such map of a mesh")
    return vars(images)[recipe["map"]][0].cpu()


def on_device(representation: Representation, device: torch.device) -> Representation:
    """A frozen data class with its tensors moved."""
    moved = {name: part.to(device) for name, part in vars(representation).items() if isinstance(part, Tensor)}
    return replace(representation, **moved)


def compare_render(
    key: str, images: dict[str, Tensor], *, backend: str = "auto", device: torch.device = CPU
) -> Iterator[Check]:
    """Checks of one key of the file, drawn by a back end on a device."""
    expected = images[key].float()
    matrix = re.fullmatch(r"(extr|intr)_([01])", key)
    if matrix:
        cameras = camera(int(matrix[2]))
        computed = (cameras.extrinsics if matrix[1] == "extr" else cameras.intrinsics)[0]
        yield Check("", (computed - expected).abs().max().item(), 1e-5)
        return
    with torch.no_grad():
        computed = rebuild_image(key, expected.shape[-1], backend=backend, device=device)
    if computed.shape != expected.shape:
        yield missing("", f"shape {list(computed.shape)}, expected {list(expected.shape)}")
        return
    difference = (computed - expected).abs()
    if key.startswith("mesh_"):
        inner = inner_pixels(images, key)
        if inner.float().mean() < 0.5:
            yield missing("", "less than half of the pixels lie off the edges")
            return
        yield Check("pixels off the edges", difference[..., inner].max().item(), LEVEL)
        # Edges may differ a little, not be elsewhere.
        yield Check("mean", difference.mean().item(), 2 * LEVEL)
    else:
        yield Check("pixels", difference.max().item(), 2 * LEVEL)
        yield Check("mean", difference.mean().item(), 0.2 * LEVEL)


def inner_pixels(images: dict[str, Tensor], key: str) -> Tensor:
    """Pixels [H, W] at least 2 away from an edge of the mesh: where neither face nor coverage changes nearby.

    The reference's own normals and coverage tell the edges where the file has them, our coverage otherwise.
    """
    size = images[key].shape[-1]
    normal = images["mesh_normal"] if "mesh_normal" in images else rebuild_image("mesh_normal", size)
    mask = images["mesh_mask"] if "mesh_mask" in images else rebuild_image("mesh_mask", size)
    channels = torch.cat([normal.float(), mask.float()[None]])[None]
    around = F.pad(channels, (2, 2, 2, 2), mode="replicate")
    spread = F.max_pool2d(around, 5, 1) + F.max_pool2d(-around, 5, 1)
    return (spread[0] < LEVEL / 2).all(0)
