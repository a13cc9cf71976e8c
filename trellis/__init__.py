"""A picture in, a textured 3D asset out: the TRELLIS model family on any machine.

`from trellis import ImageTo3D` is all that most programs need; see the README for ten lines that use it.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"
__all__ = ["Asset", "ImageTo3D", "Runtime", "TrellisError"]

_HOMES = {
    "Asset": "trellis.asset",
    "ImageTo3D": "trellis.pipeline",
    "Runtime": "trellis.runtime",
    "TrellisError": "trellis.errors",
}


def __getattr__(name: str) -> Any:
    """Import the public names at their first use: `import trellis` itself stays instant."""
    if name not in _HOMES:
        raise AttributeError(f"module 'trellis' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
