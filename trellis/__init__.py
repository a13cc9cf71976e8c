"""A picture in, a textured 3D asset out: the TRELLIS model family on any machine.

`from trellis import ImageTo3D` is all that most programs need; see the README for ten lines that use it.
"""

from trellis.late_import import importer

__version__ = "0.1.0"
__all__ = ["Asset", "Box", "ImageTo3D", "Runtime", "TextTo3D", "TrellisError"]

# Imported at their first use: `import trellis` itself stays instant.
__getattr__ = importer(
    __name__,
    {
        "asset": ["Asset"],
        "editing.boxes": ["Box"],
        "errors": ["TrellisError"],
        "pipeline": ["ImageTo3D", "TextTo3D"],
        "runtime": ["Runtime"],
    },
)
