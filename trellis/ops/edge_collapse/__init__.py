"""Fewer triangles by quadric edge collapse: one function, a parallel Warp back end and a plain serial reference."""

from trellis.ops.edge_collapse.collapse import collapse_edges
