"""The encoder input of a mesh is that of the training data, number for number."""

import torch

from tests.unit.encoding.meshes import source, sphere
from trellis.encoding.local_features import FEATURES, grid_centres, local_features
from trellis.encoding.solid import SolidField
from trellis.encoding.source_mesh import SourceMesh
from trellis.representations import Mesh
from trellis.representations.flexicubes import extract_mesh
from trellis.training.procedural import (
    VOXEL_FEATURES,
    ObjectBatch,
    occupancy,
    occupied_coords,
    sample_objects,
    voxel_features,
)
from trellis.training.targets import lattice_points

CORNERS = torch.tensor([[i & 1, i >> 1 & 1, i >> 2 & 1] for i in range(8)])  # order of the mesh features
SEED = 2**31 + 7


def exact_mesh(objects: ObjectBatch, voxels: torch.Tensor) -> Mesh:
    """The surface of one object, extracted from its exact distances in `voxels` [N, 3] of 32^3, with its colours."""
    line = torch.arange(4)
    cells = torch.stack(torch.meshgrid(line, line, line, indexing="ij"), -1).reshape(-1, 3)
    lattice = (lattice_points(torch.device("cpu")) + 0.5) * 4
    points = ((4 * voxels[:, None] + lattice) / 128 - 0.5).reshape(1, -1, 3)
    distance = objects.sdf(points).reshape(len(voxels), 125) * 128
    place = ((cells[:, None] + CORNERS) * torch.tensor([25, 5, 1])).sum(-1)  # [64, 8] in the lattice
    feats = torch.zeros(64 * len(voxels), 53)
    feats[:, :8] = distance[:, place].reshape(-1, 8) + 1 / 128  # extraction subtracts it
    mesh = extract_mesh((4 * voxels[:, None] + cells).reshape(-1, 3).int(), feats, resolution=128)
    return Mesh(mesh.vertices, mesh.faces, objects.color(mesh.vertices[None])[0])


def test_the_layouts_are_one() -> None:
    assert VOXEL_FEATURES.size == FEATURES


def test_a_procedural_object_read_back_from_its_mesh() -> None:
    objects = sample_objects([SEED], ["lighthouse"])
    coords = occupied_coords(occupancy(objects))[:, 1:]
    expected = voxel_features(objects, torch.cat([torch.zeros(len(coords), 1), coords], 1).int())
    # Outside of the voxels the distance counts as +1: a second, enclosed surface closes the shell within.
    mesh = exact_mesh(objects, coords)
    found = local_features(SolidField.create(SourceMesh.from_mesh(mesh), resolution=32))
    assert found.resolution == 32 and found.features.shape == (len(found.coords), FEATURES)
    row = {tuple(voxel): i for i, voxel in enumerate(coords.tolist())}
    shared = [(row[key], j) for j, key in enumerate(map(tuple, found.coords.tolist())) if key in row]
    assert len(shared) > 0.97 * max(len(coords), len(found.coords))
    mine, theirs = (torch.tensor(column) for column in zip(*((j, i) for i, j in shared)))
    error = (found.features[mine] - expected[theirs]).abs()
    assert error[:, VOXEL_FEATURES.distance].mean() < 0.01  # voxels; the programs' distances are not exact at blends
    assert error[:, VOXEL_FEATURES.normal].mean() < 0.03
    assert error[:, VOXEL_FEATURES.color].mean() < 0.01
    assert expected[:, VOXEL_FEATURES.color].std() > 0.15  # not one colour only


def test_features_of_a_sphere_are_exact() -> None:
    found = local_features(SolidField.create(source(sphere(5, radius=0.4)), resolution=16))
    centres = (found.coords.float() + 0.5) / 16 - 0.5
    fine = centres[:, None] + grid_centres(4, device=centres.device) / 16
    exact = ((fine.norm(dim=-1) - 0.4) * 16).clamp(-2, 2)
    assert (found.features[:, :64] - exact).abs().max() < 0.006
    normal = torch.nn.functional.normalize(centres, dim=1)
    assert (found.features[:, 64:67] * normal).sum(1).min() > 0.998
    assert torch.allclose(found.features[:, 67:], torch.tensor(0.5))  # white
