"""A coloured mesh file through the embedded model's encoder and decoders comes out as what went in."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from torch import Tensor

from tests.unit.encoding.meshes import sphere
from tests.unit.encoding.samples import sample_surface
from trellis.asset import Asset
from trellis.conditioning.dinov2 import Dinov2, Dinov2Config
from trellis.editing import from_mesh
from trellis.encoding.load import load_mesh
from trellis.encoding.solid import SolidField
from trellis.encoding.source_mesh import SourceMesh, normalize_mesh
from trellis.errors import Cancelled, CheckpointError, InvalidInputError
from trellis.export.clean import clean
from trellis.families.trellis_family import NANO_FOLDER
from trellis.models import create_model, save_model
from trellis.pipeline import ImageTo3D
from trellis.progress import CancelToken, Progress
from trellis.representations import Mesh
from trellis.runtime import Runtime

RUNTIME = Runtime(offline=True)
PIPELINE = ImageTo3D.from_pretrained("nano", runtime=RUNTIME)
COLORS = {"ball": (230, 40, 30), "slab": (240, 220, 60), "post": (40, 90, 220)}


def nearest(points: Tensor, others: Tensor) -> Tensor:
    return torch.cat([torch.cdist(part, others).amin(1) for part in points.split(1000)])


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ball on a slab with a post, each of its own colour, far from the origin and large, as GLB (y up)."""
    ball, slab, post = (
        sphere(4, radius=0.3),
        trimesh.creation.box([0.9, 0.5, 0.2]),
        trimesh.creation.cylinder(0.12, 0.8),
    )
    slab.apply_translation([0, 0, -0.3])
    post.apply_translation([0.2, 0.1, 0.3])
    for shape, color in zip((ball, slab, post), COLORS.values()):
        linear = ((np.array(color) / 255 + 0.055) / 1.055) ** 2.4
        material = trimesh.visual.material.PBRMaterial(baseColorFactor=(linear * 255).round().astype(np.uint8))
        shape.visual = trimesh.visual.TextureVisuals(uv=np.zeros((len(shape.vertices), 2)), material=material)
    scene = trimesh.Scene([ball, slab, post])
    scene.apply_transform(trimesh.transformations.rotation_matrix(-np.pi / 2, [1, 0, 0]))  # z up to y up
    scene.apply_transform(trimesh.transformations.scale_and_translate(40, [300, 10, -70]))
    path = tmp_path_factory.mktemp("mesh") / "object.glb"
    scene.export(path)
    return path


@pytest.fixture(scope="module")
def encoded(file: Path) -> Asset:
    return PIPELINE.load_mesh(file)


@pytest.fixture(scope="module")
def field(file: Path) -> SolidField:
    return SolidField.create(normalize_mesh(load_mesh(file)).mesh, resolution=32)


@pytest.fixture(scope="module")
def decoded(encoded: Asset) -> Mesh:
    mesh = PIPELINE.represented(encoded, ["mesh"]).mesh
    assert mesh is not None
    return clean(mesh)


def test_latent(encoded: Asset) -> None:
    config = json.loads((NANO_FOLDER / "pipeline.json").read_text())["args"]
    std = torch.tensor(config["slat_normalization"]["std"])
    mean = torch.tensor(config["slat_normalization"]["mean"])
    assert encoded.resolution == 32 and encoded.latent.shape == (len(encoded.coords), 8) and len(encoded.coords) > 2000
    # What the flow was taught to make: neither far from its mean nor much wider than its spread.
    scaled = (encoded.latent - mean) / std
    assert scaled.mean(0).abs().max() < 1 and scaled.std(0).min() > 0.4 and scaled.std(0).max() < 2


def test_an_encoded_mesh_is_stored_as_any_asset(encoded: Asset, tmp_path: Path) -> None:
    found = Asset.load(encoded.store(tmp_path / "object.safetensors"))
    assert torch.equal(found.coords, encoded.coords) and torch.equal(found.latent, encoded.latent)
    assert (found.to_cube, found.resolution, found.notes) == (encoded.to_cube, encoded.resolution, encoded.notes)
    assert found.gaussians is None and found.mesh is None


def test_shape_comes_back(decoded: Mesh, field: SolidField) -> None:
    """Chamfer distance within a tenth of what two random samples of one surface have, distances under a fine voxel."""
    generator = torch.Generator().manual_seed(0)
    drawn = sample_surface(field.mesh, 16_000, generator=generator)
    step = 0.003 * drawn.normals  # some faces reach into another part
    visible = ~(field.inside(drawn.points + step) & field.inside(drawn.points - step))
    truth, other = drawn.points[visible].split([5000, int(visible.sum()) - 5000])
    found = sample_surface(SourceMesh.from_mesh(decoded), 5000, generator=generator).points
    chamfer = (nearest(found, truth).mean() + nearest(truth, found).mean()) / 2
    floor = (nearest(other[:5000], truth).mean() + nearest(truth, other[:5000]).mean()) / 2
    assert chamfer < 1.1 * floor < 0.02
    distance = field.sample(found).distance.abs()
    assert distance.mean() < 0.25 / 128 and distance.quantile(0.99) < 1 / 128


def test_place_in_the_file_comes_back(decoded: Mesh, encoded: Asset, file: Path) -> None:
    vertices = encoded.to_cube.inverse().apply(decoded.vertices)
    source = load_mesh(file)
    for reduce in (torch.amin, torch.amax):
        assert torch.allclose(reduce(vertices, 0), reduce(source.vertices, 0), atol=1.0)  # of 46 units


def test_lightness_comes_back(decoded: Mesh, field: SolidField) -> None:
    lightness = {name: sum(color) / 3 for name, (color, _) in _part_colors(decoded, field).items()}
    assert lightness["slab"] > 1.15 * max(lightness["ball"], lightness["post"])


def test_hue_comes_back(decoded: Mesh, field: SolidField) -> None:
    for found, expected in _part_colors(decoded, field).values():
        assert max(abs(a - b) for a, b in zip(found, expected)) < 40


def _part_colors(decoded: Mesh, field: SolidField) -> dict[str, tuple[list[float], tuple[int, int, int]]]:
    """Mean decoded colour (0..255) of each part, and its colour in the file."""
    samples = sample_surface(SourceMesh.from_mesh(decoded), 4000, generator=torch.Generator().manual_seed(1))
    truth = field.colors(field.nearest_surface(samples.points)) * 255
    result = {}
    for name, color in COLORS.items():
        rows = (truth - torch.tensor(color)).abs().amax(1) < 4
        assert rows.sum() > 300
        result[name] = ((samples.colors[rows].mean(0) * 255).tolist(), color)
    return result


def opened(folder: Path) -> ImageTo3D:
    return ImageTo3D.from_pretrained(folder, runtime=RUNTIME)


def image_model(folder: Path, width: int = 12) -> Path:
    """A model whose encoder takes image features, like the published ones, with random weights."""
    torch.manual_seed(0)
    content = json.loads((NANO_FOLDER / "pipeline.json").read_text())
    content["args"]["models"]["slat_encoder"] = "ckpts/slat_encoder"
    content["args"]["image_cond_model"] = {"path": "image_encoder", "image_size": 28}
    folder.mkdir()
    (folder / "pipeline.json").write_text(json.dumps(content))
    (folder / "image_encoder").mkdir()
    Dinov2(Dinov2Config(12, 1, 2, image_size=28)).save(folder / "image_encoder")
    args = {"resolution": 16, "model_channels": 24, "num_blocks": 1, "num_heads": 2, "latent_channels": 8}
    save_model(create_model("SLatEncoder", {**args, "in_channels": width}), folder / "ckpts" / "slat_encoder")
    return folder


def test_models_with_image_features(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "ball.ply"
    sphere(3, radius=7).export(path)
    pipeline = opened(image_model(tmp_path / "model"))
    made = []
    for views in (4, 4, 5):  # of 150
        monkeypatch.setattr(from_mesh, "VIEWS", views)
        made.append(from_mesh.asset_of_mesh(pipeline, path, progress=Progress()))
    found, again, other = made
    assert found.resolution == 16 and found.latent.std() > 0
    # The unit ball's voxels: those of the voxeliser, the cube filled from side to side.
    assert found.coords.amin() == 0 and found.coords.amax() == 15
    assert found.to_cube.scale == pytest.approx(1 / 14, rel=1e-3)
    assert torch.equal(found.latent, again.latent)
    assert not torch.equal(found.latent, other.latent)


def test_models_that_cannot_encode(tmp_path: Path) -> None:
    path = tmp_path / "ball.ply"
    sphere(1).export(path)
    with pytest.raises(CheckpointError, match="7 numbers"):
        opened(image_model(tmp_path / "strange", width=7)).load_mesh(path)
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "pipeline.json").write_text((NANO_FOLDER / "pipeline.json").read_text())
    bare = opened(tmp_path / "bare")
    assert "encode" not in bare.operations and "encode" in PIPELINE.operations
    with pytest.raises(CheckpointError, match="no 'slat_encoder'"):
        bare.load_mesh(path)


@pytest.mark.parametrize("front", ["90", "180", "270"])
def test_a_mesh_is_turned_and_comes_back(front: str, file: Path) -> None:
    found = PIPELINE.load_mesh(file, front=front)
    assert found.to_cube.turns == int(front) // 90
    centres = (found.coords.float() + 0.5) / found.resolution - 0.5
    source = load_mesh(file)
    voxel = 1 / (found.to_cube.scale * found.resolution)
    for reduce in (torch.amin, torch.amax):
        there = reduce(found.to_cube.inverse().apply(centres), 0)
        assert torch.allclose(there, reduce(source.vertices, 0), atol=1.2 * voxel)
    with pytest.raises(InvalidInputError, match="front must be one of auto, 0, 90") as error:
        PIPELINE.load_mesh(file, front="45")
    assert error.value.field == "front"


def test_the_front_is_where_the_picture_was_taken_from(tmp_path: Path) -> None:
    """A mug with its handle at one side, turned away; a picture that fits from no side."""
    mug = Path("assets/example_model/mug.glb")
    turned = trimesh.load(mug, force="scene")
    turned.apply_transform(trimesh.transformations.rotation_matrix(np.pi / 2, [0, 1, 0]))  # y is up
    turned.export(tmp_path / "turned.glb")
    picture = Path("assets/example_image/mug.png")
    plain = PIPELINE.load_mesh(mug, picture=picture)
    found = PIPELINE.load_mesh(tmp_path / "turned.glb", picture=picture)
    assert (plain.to_cube.turns, found.to_cube.turns) == (0, 3) and plain.notes == found.notes == ()
    same = {tuple(row) for row in plain.coords.tolist()} & {tuple(row) for row in found.coords.tolist()}
    assert len(same) > 0.95 * len(plain.coords)
    pole = tmp_path / "pole.ply"
    trimesh.creation.box([0.06, 0.06, 1]).export(pole)
    lost = PIPELINE.load_mesh(pole, picture=picture)
    assert lost.to_cube.turns == 0 and "state `front`" in lost.notes[0]


def test_cancelled(file: Path) -> None:
    token = CancelToken()
    with pytest.raises(Cancelled):
        PIPELINE.load_mesh(file, progress=Progress(lambda _: token.cancel(), token))


def test_files_of_any_size_and_without_a_proper_surface_are_encoded(tmp_path: Path) -> None:
    """A box, the same kilometres large, and one whose top edge has a third face."""
    box = trimesh.creation.box([1.0, 0.6, 0.4])
    fin = trimesh.Trimesh([[-0.5, 0.3, 0.2], [0.5, 0.3, 0.2], [0, 0.6, 0.5]], [[0, 1, 2]])
    plain, large, forked = (tmp_path / f"{name}.stl" for name in ("plain", "large", "forked"))
    box.export(plain)
    box.copy().apply_scale(5000.0).apply_translation([2e5, 0, -3e4]).export(large)
    trimesh.util.concatenate([box, fin]).export(forked)
    one, same, more = (PIPELINE.load_mesh(path, front="0") for path in (plain, large, forked))
    assert torch.equal(one.coords, same.coords) and same.to_cube.scale == pytest.approx(one.to_cube.scale / 5000)
    middle = same.to_cube.apply(torch.tensor([[2e5, 0, -3e4]], dtype=torch.float64))
    torch.testing.assert_close(middle, torch.zeros(1, 3, dtype=torch.float64), atol=1e-3, rtol=0)
    assert len(more.coords) > 500 and torch.isfinite(more.latent).all()
