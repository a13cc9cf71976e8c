"""Inside or outside of a triangle mesh by its winding number: a Warp back end and a plain torch reference."""

from trellis.ops.winding_number.query import inside_query
