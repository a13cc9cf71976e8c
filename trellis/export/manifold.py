"""Vertices and edges where a surface touches itself are parted, so that every edge has at most two faces."""

import math

import torch
from torch import Tensor

from trellis.export.topology import face_corners, sum_by
from trellis.ops.half_edges import EdgeTable, corner_fans, following
from trellis.representations import Mesh

NUDGE = 0.02  # of the way to the neighbours: enough that readers which weld equal positions keep the copies apart


def split_touching(mesh: Mesh, *, edges_only: bool = False) -> Mesh:
    """Give every fan of faces around a vertex a vertex of its own, slightly drawn back into the fan.

    Faces are in one fan when they are joined across edges with two faces; around an edge with more, those that
    enclose the same solid belong together. edges_only: part only the vertices of such edges. Attributes are copied.
    """
    if not len(mesh.faces):
        return mesh
    edges = EdgeTable.build(mesh.faces, len(mesh.vertices))
    crowded = edges.first[edges.counts > 2]
    if edges_only and not len(crowded):
        return mesh
    a, b = edges.pairs()
    if len(crowded):
        more = [_pairs_around(mesh, edges, int(e)) for e in torch.nonzero(edges.counts > 2).squeeze(1)]
        extra = torch.tensor([pair for pairs in more for pair in pairs], dtype=torch.int64, device=a.device)
        a, b = torch.cat([a, extra.reshape(-1, 2)[:, 0]]), torch.cat([b, extra.reshape(-1, 2)[:, 1]])
    fans, fan = corner_fans(mesh.faces.long(), a, b)
    corner_vertex = mesh.faces.long().reshape(-1)
    vertex = corner_vertex.new_zeros(fans).scatter(0, fan, corner_vertex)
    split = torch.bincount(vertex, minlength=len(mesh.vertices)) > 1
    if edges_only:
        on_edge = torch.zeros_like(split)
        shared = edges.uses() > 2
        on_edge[edges.starts[shared]] = on_edge[edges.ends[shared]] = True
        split &= on_edge
    if not bool(split.any()):
        return mesh
    return _with_fans(mesh, fan, vertex, split)


def _pairs_around(mesh: Mesh, edges: EdgeTable, edge: int) -> list[tuple[int, int]]:
    """Pairs of half edges of one edge whose faces enclose the same solid: a face and the next one on its inner side."""
    first, count = int(edges.first[edge]), int(edges.counts[edge])
    halves = edges.order[first : first + count].tolist()
    start, end = int(edges.starts[halves[0]]), int(edges.ends[halves[0]])
    points = mesh.vertices.double()
    axis = torch.nn.functional.normalize(points[end] - points[start], dim=0)
    thirds = torch.stack([points[int(edges.ends[following(h)])] for h in halves]) - points[start]
    radial = thirds - (thirds @ axis)[:, None] * axis
    x = torch.nn.functional.normalize(radial[0], dim=0)
    y = torch.linalg.cross(axis, x)
    angles = torch.atan2(radial @ y, radial @ x).remainder(2 * math.pi).tolist()
    forward = {h: int(edges.starts[h]) == start for h in halves}
    # A forward face's normal points to rising angles, so its solid lies on the falling side.
    ring = [h for _, h in sorted(zip(angles, halves))]
    pairs = [(h, ring[i - 1]) for i, h in enumerate(ring) if forward[h] and not forward[ring[i - 1]]]
    used = {h for pair in pairs for h in pair}
    ahead = [h for h in ring if h not in used and forward[h]]
    back = [h for h in ring if h not in used and not forward[h]]
    return pairs + list(zip(ahead, back))


def _with_fans(mesh: Mesh, fan: Tensor, vertex: Tensor, split: Tensor) -> Mesh:
    """Copies for all fans but the first of the vertices in `split`; all of their fans are drawn back."""
    count = len(mesh.vertices)
    fans = torch.arange(len(vertex), device=fan.device)
    first = fans.new_full((count,), len(vertex)).scatter_reduce(0, vertex, fans, "amin")
    copied = split[vertex] & (first[vertex] != fans)
    number = torch.where(copied, count + copied.cumsum(0) - 1, vertex)
    faces = number[fan].reshape(-1, 3)
    source = torch.cat([torch.arange(count, device=fan.device), vertex[copied]])
    vertices = mesh.vertices[source]
    # Middle of the other corners of each fan's faces.
    others = face_corners(mesh)
    opposite = (others.sum(1, keepdim=True) - others).reshape(-1, 3) / 2
    corner = faces.reshape(-1)
    middle = sum_by(opposite, corner, len(source)) / torch.bincount(corner, minlength=len(source)).clamp_min(1)[:, None]
    moved = split[source]
    vertices = torch.where(moved[:, None], vertices + NUDGE * (middle.to(vertices.dtype) - vertices), vertices)
    attributes = None if mesh.attributes is None else mesh.attributes[source]
    return Mesh(vertices, faces.int(), attributes)
