"""How much of its surroundings each triangle sees: one function, a Warp back end and a plain torch reference."""

from trellis.ops.visibility.query import outside_visibility
