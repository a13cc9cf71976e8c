"""The decoders' targets describe the object: extraction gives it back; chunks and the pool hold what they should."""

from collections import defaultdict
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from trellis.export.clean import clean
from trellis.models import create_model
from trellis.representations.flexicubes import extract_mesh
from trellis.sparse import SparseTensor
from trellis.training import metrics, truth
from trellis.training.config import DataConfig
from trellis.training.data import held_out_batch, on_black, sample_chunk, training_families
from trellis.training.mesh_loss import corner_index, target_sdf
from trellis.training.pool import Pool
from trellis.training.procedural import HELD_OUT_SEEDS, occupancy, occupied_coords, sample_objects
from trellis.training.targets import (
    DISC_SIZE,
    LEAST_DISC_SIZE,
    decode_unit,
    encode_unit,
    gaussian_points,
    latent_chunk,
)

CPU = torch.device("cpu")
RESOLUTION = 32
MESH_DECODER = {
    "resolution": RESOLUTION, "latent_channels": 8, "model_channels": 256, "num_blocks": 0, "num_heads": 2,
    "representation_config": {"use_color": True},
}  # fmt: skip


def fine_coords(coords: Tensor) -> Tensor:
    """Coordinates [64 n, 3] of the fine voxels in the order in which the mesh decoder's subdivision leaves them."""
    decoder = create_model("SLatMeshDecoder", MESH_DECODER)
    with torch.no_grad():
        fine = decoder(SparseTensor.create(torch.zeros(len(coords), 8), coords, resolution=RESOLUTION))
    assert fine.resolution == 4 * RESOLUTION
    return fine.coords[:, 1:]


def test_extracting_the_mesh_targets_gives_the_object() -> None:
    objects = sample_objects([HELD_OUT_SEEDS.start + 3], ["teapot"])
    dense = occupancy(objects, resolution=RESOLUTION)
    coords = occupied_coords(dense)
    chunk = latent_chunk(objects, resolution=RESOLUTION, gaussians=2, voxel_size=1.5, samples=2)
    assert torch.equal(chunk["voxel_coords"].int(), coords[:, 1:])
    index = corner_index(CPU)
    feats = torch.zeros(len(coords), 64, 101)
    feats[..., :8] = target_sdf(chunk["voxel_sdf"].float(), RESOLUTION)[:, index]
    attributes = torch.cat([chunk["voxel_color"], chunk["voxel_normal"]], -1)[:, index]
    feats[..., 53:] = torch.logit(decode_unit(attributes), eps=1e-3).flatten(2)
    # Where the shell of voxels ends inside the object, extraction closes it; `clean` removes such inner walls.
    mesh = clean(extract_mesh(fine_coords(coords), feats.flatten(0, 1), resolution=4 * RESOLUTION))

    found = metrics.sample_mesh(mesh, count=4000, generator=torch.Generator().manual_seed(0))
    [true] = truth.surface_points(objects, dense, seed=0, count=4000)
    chamfer, f_score = metrics.chamfer_and_f_score(found, true)
    assert f_score > 0.999 and chamfer < 0.014, (f_score, chamfer)
    assert float(objects.sdf(mesh.vertices[None]).abs().max()) < 0.004, "half a fine voxel"
    assert mesh.colors is not None
    wanted = objects.color(mesh.vertices[None])[0]
    assert float((mesh.colors - wanted).abs().mean()) < 0.05 < 3 * float(wanted.std())
    assert mesh.attributes is not None
    normals = torch.nn.functional.normalize(mesh.attributes[:, 3:6] * 2 - 1, dim=1)
    assert float((normals * objects.normal(mesh.vertices[None])[0]).sum(1).median()) > 0.97


def test_discs_lie_on_the_surface_where_they_are_visible() -> None:
    objects = sample_objects([HELD_OUT_SEEDS.start + 5], ["mug"])
    chunk = latent_chunk(objects, resolution=RESOLUTION, gaussians=8, voxel_size=1.5, samples=4)
    place, normal, _, size, visible = chunk["voxel_disc"].float().split([3, 3, 3, 1, 1], -1)
    centres = (chunk["voxel_coords"].float() + 0.5) / RESOLUTION - 0.5
    distance = objects.sdf((centres[:, None] + place / RESOLUTION).reshape(1, -1, 3))[0].abs()
    seen = visible.flatten() > 0.5
    assert 0.2 < float(seen.float().mean()) < 0.95
    assert float(distance[seen].quantile(0.98)) < 0.1 / RESOLUTION
    along = torch.nn.functional.normalize(torch.linalg.cross(normal, torch.randn(3).expand_as(normal)), dim=-1)
    ends = (centres[:, None] + (place + 2 * size * along) / RESOLUTION).reshape(1, -1, 3)
    overhang = objects.sdf(ends)[0].abs()[seen] * RESOLUTION
    assert float(size.min()) >= LEAST_DISC_SIZE - 1e-3 and float(size.max()) <= DISC_SIZE + 1e-3
    assert float(overhang.quantile(0.95)) < 0.15, "voxels by which discs reach over edges"
    assert float((size.flatten()[seen] < 0.8 * DISC_SIZE).float().mean()) > 0.02, "there are edges"
    assert float(size.flatten()[seen].median()) > 0.8 * DISC_SIZE, "most of the surface is no edge"
    points = (centres[:, None] + (decode_unit(chunk["voxel_ray_place"]) - 0.5) / RESOLUTION).reshape(1, -1, 3)
    exact = objects.sdf(points)[0] * RESOLUTION
    near = exact.abs() < 0.3
    assert float((exact - chunk["voxel_ray_sdf"].float().flatten())[near].abs().quantile(0.95)) < 0.1


def test_resting_places_stay_within_reach() -> None:
    points = gaussian_points(8, 1.5)
    assert points.shape == (8, 3) and float(points.abs().max()) <= 0.5 + 1e-6
    assert len({tuple(row) for row in points.tolist()}) == 8
    values = torch.linspace(0, 1, 256)
    assert torch.allclose(decode_unit(encode_unit(values)), values, atol=1 / 510 + 1e-6)


def test_true_points_are_on_the_surface_and_even() -> None:
    objects = sample_objects([HELD_OUT_SEEDS.start + 1, HELD_OUT_SEEDS.start + 2], ["table"])
    points = truth.surface_points(objects, occupancy(objects), seed=0, count=2000)
    for index, found in enumerate(points):
        assert found.shape == (2000, 3)
        assert float(objects.select([index]).sdf(found[None]).abs().quantile(0.98)) < 2e-3
    assert not torch.equal(points[0], points[1])


def test_each_chunk_is_of_one_family_and_they_take_turns() -> None:
    """No chunk of a family has an object of another of its chunks."""
    config = DataConfig(chunk=3, hold_out=("windmill", "chair"))
    families = training_families(config)
    assert {"windmill", "chair"}.isdisjoint(families)
    seen: dict[str, set[int]] = defaultdict(set)
    for number in (0, 1, 5, len(families) - 1, len(families), len(families) + 1):
        chunk = sample_chunk(config, number, CPU)
        assert chunk.names() == [families[number % len(families)]] * 3
        assert seen[chunk.names()[0]].isdisjoint(chunk.seeds.tolist())
        seen[chunk.names()[0]] |= set(chunk.seeds.tolist())
    assert max(map(max, seen.values())) < HELD_OUT_SEEDS.start
    other = sample_chunk(replace(config, seed=10**6), 1, CPU)
    assert seen[other.names()[0]].isdisjoint(other.seeds.tolist())


def test_held_out_objects_have_seeds_of_their_own() -> None:
    objects = held_out_batch(DataConfig(hold_out=("windmill",), held_out_objects=40), CPU)
    assert len(objects) == 40 and int(objects.seeds.min()) == HELD_OUT_SEEDS.start
    assert "windmill" not in objects.names() and len(set(objects.names())) > 10


def test_pictures_on_black() -> None:
    rgba = torch.tensor([[[200, 100, 50, 255], [200, 100, 50, 128], [200, 100, 50, 0]]], dtype=torch.uint8)
    assert on_black(rgba)[:, 0].T.tolist() == [[200, 100, 50], [100, 50, 25], [0, 0, 0]]


def numbered_chunk(number: int) -> dict[str, Tensor]:
    """Two objects of `number + 1` and 2 voxels that know their chunk and place."""
    counts = torch.tensor([number + 1, 2])
    return {
        "name": torch.tensor([10 * number, 10 * number + 1]),
        "counts": counts,
        "voxel_owner": torch.repeat_interleave(torch.tensor([10 * number, 10 * number + 1]), counts),
    }


def test_pool_replaces_one_chunk_at_a_time() -> None:
    made: list[int] = []
    pool = Pool(
        DataConfig(objects=4, chunk=2, refresh_every=3),
        lambda number: made.append(number) or numbered_chunk(number),  # type: ignore[func-returns-value]
        device=CPU,
    )
    everyone = torch.arange(4)
    for step, chunks in ((0, [0, 1]), (2, [0, 1]), (3, [2, 1]), (6, [2, 3]), (9, [4, 3])):
        pool.at_step(step)
        assert pool.objects("name", everyone).tolist() == [10 * c + i for c in chunks for i in (0, 1)], step
        wanted = torch.tensor([3, 0, 3])
        rows, batch, counts = pool.voxel_rows(wanted)
        names = pool.objects("name", wanted)
        assert torch.equal(pool.voxels("voxel_owner", rows), names[batch])
        assert counts.tolist() == [2, chunks[0] + 1, 2] and len(rows) == int(counts.sum())
    assert made == [0, 1, 2, 3, 4], "kept chunks are not made again"
    fresh = Pool(pool.config, numbered_chunk, device=CPU)
    fresh.at_step(9)  # what a resumed run does
    assert torch.equal(fresh.objects("name", everyone), pool.objects("name", everyone))


def test_unknown_family_in_the_configuration_is_named() -> None:
    with pytest.raises(ValueError, match="submarine"):
        training_families(DataConfig(hold_out=("submarine",)))
