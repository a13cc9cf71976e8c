"""The nearest point of a triangle mesh: one function, a Warp back end and a plain torch reference."""

from trellis.ops.closest_point.query import SurfacePoints, closest_point, closest_query
