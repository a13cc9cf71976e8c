"""What nobody outside can see: inner shells and the hidden side of thin walls are cut off where the cut is short."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.csgraph import breadth_first_order, maximum_flow
from torch import Tensor

from trellis.export.holes import HoleLimits, Ints, close_loops, loop_is_small, trace_loops
from trellis.export.topology import diagonal, face_corners, sum_by, with_faces
from trellis.ops.half_edges import EdgeTable, connected_parts, face_vectors
from trellis.ops.visibility import outside_visibility
from trellis.representations import Mesh

PATCH_EDGES = 4.0  # side of a patch in mean edge lengths: about 25 faces
PATCH_EXTENT = 0.005  # and at least this fraction of the diagonal
RAYS = 256
ENOUGH = 8
# Of the sphere: what a patch must see to count as outside at all, and in full; one that sees nothing counts as inside,
# and between them the length of the cut decides. Walls of a hollow body see a little through each gap in its skin.
SEEN_FROM, SEEN_FULLY = 0.02, 0.05
PLAINLY_SEEN = 0.1
# A hidden part goes when its area exceeds this fraction of the diagonal times the length of the cut around it.
CUT_COST = 0.03
BAND = 2  # patches on each side of the first cut among which the second one, between single faces, is free
# A larger opening than the limits allow may be closed if it is inside: at most this many times the perimeter, and at
# most this fraction of the lid plainly seen.
LARGE_LID = 4.0
LID_SEEN = 0.03
CAPACITY = 2**30  # of all areas and edges together; the flow counts in 32 bits


@dataclass(frozen=True)
class _Graph:
    """A binary labelling problem: nodes are faces or patches.

    outside, inside [n]: what it costs not to give a node that label, in area; left, right [m]: neighbours; weight [m]:
    what it costs to part them.
    """

    outside: Tensor
    inside: Tensor
    left: Tensor
    right: Tensor
    weight: Tensor


def remove_hidden(mesh: Mesh, *, limits: HoleLimits) -> Mesh:
    """Drop what is not seen from outside, and close the openings that this leaves.

    Patches of connected faces are judged by rays; a minimal cut weighs hidden area against the length of the border
    that removing it makes, first between patches, then between the faces near the border. A part whose removal would
    open a hole beyond `limits` stays, unless the lid lies inside the rest.
    """
    if not len(mesh.faces):
        return mesh
    edges = EdgeTable.build(mesh.faces, len(mesh.vertices))
    a, b = edges.pairs()
    areas = 0.5 * torch.linalg.vector_norm(face_vectors(face_corners(mesh)), dim=1)
    count, patch = _patches(mesh, a // 3, b // 3, areas)
    seen = outside_visibility(mesh.vertices, mesh.faces, patches=patch, rays=RAYS, enough=ENOUGH).double()
    if not bool((seen == 0).any()):
        return mesh
    lengths = mesh.vertices.double()[edges.starts[a]] - mesh.vertices.double()[edges.ends[a]]
    weight = CUT_COST * diagonal(mesh) * torch.linalg.vector_norm(lengths, dim=1)
    outside = areas * ((seen - SEEN_FROM) / (SEEN_FULLY - SEEN_FROM)).clamp(0, 1)[patch]
    inside = areas * (seen == 0)[patch]
    left, right = patch[a // 3], patch[b // 3]
    across = left != right
    between = _Graph(
        sum_by(outside, patch, count), sum_by(inside, patch, count), left[across], right[across], weight[across]
    )
    hidden_patch = _cut(between, fixed_outside=seen >= PLAINLY_SEEN)
    if not bool(hidden_patch.any()):
        return mesh
    near = _near_border(hidden_patch, left[across], right[across])
    hidden = hidden_patch[patch]
    faces = _Graph(outside, inside, a // 3, b // 3, weight)
    free = near[patch]
    hidden = _cut(faces, fixed_outside=~free & ~hidden, fixed_inside=~free & hidden)
    return _without(mesh, hidden, edges, limits)


def _patches(mesh: Mesh, left: Tensor, right: Tensor, areas: Tensor) -> tuple[int, Tensor]:
    """Number of patches and the patch [F] of each face: connected faces in one cell of a grid."""
    edge = float((areas.mean() * (4 / 3**0.5)).sqrt())  # of equilateral faces of this area
    side = max(PATCH_EDGES * edge, PATCH_EXTENT * diagonal(mesh), 1e-30)
    centres = face_corners(mesh).mean(dim=1)
    cell = ((centres - centres.amin(0)) / side).long()
    rows = cell.amax(0) + 1
    key = (cell[:, 0] * rows[1] + cell[:, 1]) * rows[2] + cell[:, 2]
    together = key[left] == key[right]
    return connected_parts(len(mesh.faces), left[together], right[together])


def _near_border(hidden: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """Mask [P] of the patches within BAND steps of a border between hidden and other patches."""
    border = hidden[left] != hidden[right]
    near = torch.zeros_like(hidden)
    near[left[border]] = near[right[border]] = True
    for _ in range(BAND - 1):
        touched = near[left] | near[right]
        near[left[touched]] = near[right[touched]] = True
    return near


def _cut(graph: _Graph, *, fixed_outside: Tensor, fixed_inside: Tensor | None = None) -> Tensor:
    """Mask [n] of the nodes on the inner side of the cheapest cut; all fixed nodes of one side count as one node."""
    if fixed_inside is None:
        fixed_inside = torch.zeros_like(fixed_outside)
    free = ~(fixed_outside | fixed_inside)
    nodes = int(free.sum())
    if not nodes:
        return fixed_inside
    # 0: outside; 1: inside; then the free ones.
    number = torch.where(free, free.cumsum(0) + 1, fixed_inside.long())
    left, right = number[graph.left], number[graph.right]
    used = (left > 1) | (right > 1)
    one, other, weight = (tensor[used].cpu().numpy() for tensor in (left, right, graph.weight))
    own = np.arange(2, nodes + 2)
    outside, inside = (tensor[free].cpu().numpy() for tensor in (graph.outside, graph.inside))
    ends = (
        np.concatenate([one, other, np.zeros_like(own), own]),
        np.concatenate([other, one, own, np.ones_like(own)]),
    )
    values = np.concatenate([weight, weight, outside, inside])
    reached = _source_side(sparse.csr_array((values, ends), shape=(nodes + 2, nodes + 2)))
    hidden = fixed_inside.clone()
    hidden[free] = torch.from_numpy(~reached[2:]).to(hidden.device)
    return hidden


def _source_side(capacity: sparse.csr_array) -> NDArray[np.bool_]:
    """Mask of the nodes on the side of node 0 of the smallest cut between nodes 0 and 1."""
    capacity.sum_duplicates()
    total = float(capacity.sum())
    if total <= 0:
        return np.ones(capacity.shape[0], dtype=bool)
    rounded = np.rint(capacity.data * (CAPACITY / total)).astype(np.int32)
    whole = sparse.csr_matrix((rounded, capacity.indices, capacity.indptr), shape=capacity.shape)
    whole.eliminate_zeros()
    # Flow into the source and out of the sink cannot help, and the solver is faster without those arcs.
    residual = whole - maximum_flow(whole, 0, 1).flow
    residual.data = np.maximum(residual.data, 0)
    residual.eliminate_zeros()
    reached = np.zeros(capacity.shape[0], dtype=bool)
    reached[breadth_first_order(residual, 0, return_predecessors=False)] = True
    return reached


def _without(mesh: Mesh, hidden: Tensor, edges: EdgeTable, limits: HoleLimits) -> Mesh:
    """The mesh less the connected hidden regions all of whose openings can be closed, with these openings closed."""
    a, b = edges.pairs()
    inner = hidden[a // 3] & hidden[b // 3]
    regions, region = connected_parts(len(mesh.faces), (a // 3)[inner], (b // 3)[inner])
    border = hidden[a // 3] != hidden[b // 3]
    a, b = a[border], b[border]
    # A filling face runs along the border as the removed one did.
    gone = torch.where(hidden[a // 3], a, b)
    starts, ends, owner = (tensor.cpu().numpy() for tensor in (edges.starts[gone], edges.ends[gone], region[gone // 3]))
    points = mesh.vertices.double().cpu().numpy()
    openings = [
        _Opening(loop, loop_is_small(points[loop], limits), regions)
        for loop, regions in _loops_with_owners(starts, ends, owner)
    ]
    stays = np.zeros(regions, dtype=bool)
    generous = HoleLimits(limits.edges, LARGE_LID * limits.perimeter)
    for opening in openings:
        if not loop_is_small(points[opening.loop], generous):
            stays[opening.regions] = True
    large = [opening for opening in openings if not opening.small and not stays[opening.regions].any()]
    if large:
        kept = mesh.faces[~(hidden & ~torch.from_numpy(stays).to(hidden.device)[region])]
        for opening, seen in zip(large, _lids_seen(Mesh(mesh.vertices, kept), [one.loop for one in large])):
            if seen > LID_SEEN:
                stays[opening.regions] = True
    removed = hidden & ~torch.from_numpy(stays).to(hidden.device)[region]
    if not bool(removed.any()):
        return mesh
    left = Mesh(mesh.vertices, mesh.faces[~removed], mesh.attributes)
    closed, _ = close_loops(left, [opening.loop for opening in openings if not stays[opening.regions].any()])
    return with_faces(closed, closed.faces)


@dataclass(frozen=True)
class _Opening:
    """A loop that removing the hidden `regions` would leave; small: within the limits."""

    loop: Ints
    small: bool
    regions: list[int]


def _loops_with_owners(starts: Ints, ends: Ints, owner: Ints) -> list[tuple[Ints, list[int]]]:
    """Loops of the directed edges, each with the owners of its edges."""
    owners = {(start, end): one for start, end, one in zip(starts.tolist(), ends.tolist(), owner.tolist())}
    found = []
    for loop in trace_loops(starts, ends):
        steps = zip(loop.tolist(), np.roll(loop, -1).tolist())
        found.append((loop, sorted({owners[step] for step in steps})))
    return found


def _lids_seen(mesh: Mesh, loops: list[Ints]) -> list[float]:
    """The fraction of the area of the lid on each loop that plainly sees the outside."""
    closed, lid_faces = close_loops(mesh, loops)
    lids = len(closed.faces) - len(mesh.faces)
    patch = torch.zeros(len(closed.faces), dtype=torch.int64, device=mesh.faces.device)
    patch[len(mesh.faces) :] = torch.arange(1, lids + 1, device=patch.device)
    seen = outside_visibility(closed.vertices, closed.faces, patches=patch, rays=RAYS // 4, enough=ENOUGH)[1:]
    areas = torch.linalg.vector_norm(face_vectors(face_corners(closed)), dim=1)[len(mesh.faces) :]
    plain = (areas * (seen >= PLAINLY_SEEN)).split(lid_faces)
    return [float(part.sum() / whole.sum().clamp_min(1e-30)) for part, whole in zip(plain, areas.split(lid_faces))]
