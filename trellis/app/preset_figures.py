"""What the memory presets of Hunyuan3D models take: the forecasts of the 8 GB study, and what was measured here.

The study's are of the published program with four steps, an octree of 128 and four views (prototype: three of each).
"""

from collections.abc import Mapping

# By preset: seconds of an asset with texture and GLB, and GB of the card at most; docs/guide/hunyuan.md has them too.
STUDY: Mapping[str, tuple[int, float]] = {
    "fastest": (340, 7.5),
    "balanced": (360, 7.8),
    "sequential": (540, 6.8),
    "minimal": (520, 7.5),
    "prototype": (240, 6.5),
}
# The same by table (`trellis.app.presets.TABLES`): on an H200, limited to what the preset needs, with random weights.
MEASURED: Mapping[str, Mapping[str, tuple[float, float]]] = {
    "hunyuan-turbo": {
        "fastest": (5.4, 6.0),
        "balanced": (5.7, 3.9),
        "sequential": (5.8, 3.3),
        "minimal": (3.7, 2.8),
        "prototype": (4.3, 3.3),
    },
    "hunyuan-mini-turbo": {
        "fastest": (5.0, 4.8),
        "sequential": (5.4, 3.3),
        "prototype": (3.5, 3.3),
    },
}
