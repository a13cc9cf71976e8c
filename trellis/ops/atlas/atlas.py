"""From a triangle surface to texture coordinates."""

from dataclasses import dataclass

import numpy as np

from trellis.ops.atlas.charts import MergeOptions
from trellis.ops.atlas.layout import LayoutOptions, lay_out
from trellis.ops.atlas.packing import Borders, pack
from trellis.ops.atlas.topology import Floats, Ints, border_half_edges, cut_vertices, find_neighbours, side_ends
from trellis.ops.atlas.validity import distortion

# Cells of the packing grid along the side of a chart of middling size: too few waste much at every border, more take
# long. Many charts must do with fewer.
CHART_CELLS, CROWDED_CHART_CELLS = 64, 24
LEAST_GRID, CROWDED_GRID, LARGEST_GRID = 128, 704, 1024
MIN_CHART_FACES, MAX_CHART_FACES = 64, 6000
MIN_CHART_AREA = 1 / 300
MAX_STRETCH = 1.3  # L2; a chart above it is taken apart (1 is none)
ITERATIONS = 6  # of flattening


@dataclass(frozen=True)
class Atlas:
    """The surface cut along the borders of charts.

    source [n]: the vertex that each cut vertex copies; faces [F, 3] on the cut vertices, in the order of the source;
    uvs [n, 2] in [0, 1]; chart [F].
    """

    source: Ints
    faces: Ints
    uvs: Floats
    chart: Ints


def build_atlas(vertices: Floats, faces: Ints, *, size: int, padding: float, chart_area: float) -> Atlas:
    """Texture coordinates of a surface of at least one face; vertices [V, 3] finite, faces [F, 3].

    size: texels of the texture's side; padding: texels between charts; chart_area: the largest chart as a fraction of
    the surface.
    Every chart is connected, scaled alike and free of overlap; faces seen from their front run counter-clockwise in
    (u, v). The same input gives the same result.
    """
    vertices, faces = vertices.astype(np.float64), faces.astype(np.int64)
    # Few large faces may join beyond the limit; of many small ones, charts must stay quick to lay flat.
    limit = max(MIN_CHART_FACES / len(faces), min(chart_area, max(MAX_CHART_FACES / len(faces), MIN_CHART_AREA)))
    merge = MergeOptions(scale=0.008, max_area=limit, roundness=0.05)
    layout_options = LayoutOptions(merge=merge, max_stretch=MAX_STRETCH, iterations=ITERATIONS, small=1 / 2000, joins=5)
    layout = lay_out(vertices, faces, options=layout_options)
    joined = find_neighbours(faces, len(vertices)).within(layout.chart)
    source, cut = cut_vertices(faces, joined)
    flat = np.zeros((len(source), 2))
    flat[cut] = layout.flat
    point_chart = np.zeros(len(source), dtype=np.int64)
    point_chart[cut] = layout.chart[:, None]
    start, end = side_ends(cut, border_half_edges(joined))
    cells = _grid(distortion(vertices[source], flat, cut, layout.chart).areas)
    borders = Borders(start, end, point_chart)
    uvs = pack(flat, borders, size=size, padding=padding, cells=cells)
    return Atlas(source, cut, np.clip(uvs, 0, 1), layout.chart)


def _grid(areas: Floats) -> int:
    """Cells a side for charts of these areas [c]; small ones beside large ones hardly count."""
    side = np.sqrt(areas)
    across = side.sum() / max(float(np.sqrt(areas.sum())), 1e-300)  # charts in a row, were they alike
    wanted = max(min(CHART_CELLS * across, CROWDED_GRID), CROWDED_CHART_CELLS * across, LEAST_GRID)
    return round(min(wanted, LARGEST_GRID))
