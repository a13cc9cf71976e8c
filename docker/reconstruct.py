"""The container guide's script: `reconstruct INPUT --output DIR --quality high --decimation 500000 ...`.

Takes the options and names of the guide, which stay in this file, and hands them on to `python -m trellis batch`.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

# The guide's names: the program's own, faces (the most that stay) and side of the texture in pixels. The guide's
# figures go before those that the program's own names stand for.
QUALITIES = {
    "balanced": ("standard", 500_000, 2048),
    "standard": ("standard", 500_000, 2048),
    "high": ("high", 1_000_000, 4096),
    "ultra": ("ultra", 2_000_000, 4096),
}
FORMATS = {"mesh": "glb", "gaussian": "ply", "preview": "mp4"}
ALGORITHMS = ("trellis", "trellis2")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the batch that the arguments ask for and return its exit status (0: all made, 3: some failed)."""
    from trellis.cli import main as trellis

    return trellis(translated(parser().parse_args(arguments)))


def parser() -> argparse.ArgumentParser:
    """The guide's options."""
    parser = argparse.ArgumentParser(prog="reconstruct", description="Textured 3D assets of pictures.")
    add = parser.add_argument
    add("input", nargs="+", type=Path, metavar="INPUT", help="pictures or folders of them")
    add("--output", "--output-dir", type=Path, default=Path("/data"), metavar="DIR", help="folder of results")
    add("--algo", choices=ALGORITHMS, default=ALGORITHMS[0], help="both are this program's own networks")
    add("--model", metavar="REPO", help="nano (embedded), a folder, or a repository")
    add("--seed", type=int, default=42)
    add("--quality", choices=QUALITIES, default="balanced", help="faces and texture in one word")
    add("--decimation", type=int, metavar="FACES", help="faces to keep, in place of the quality's")
    add("--texture-size", type=int, metavar="PIXELS", help="side of the texture, in place of the quality's")
    add("--formats", default="mesh,gaussian,preview", help=f"of {', '.join(FORMATS)}, or the program's own names")
    add("--device", default="auto")
    return parser


def translated(options: argparse.Namespace) -> list[str]:
    """Arguments of `trellis` that say the same."""
    quality, faces, texture_size = QUALITIES[options.quality]
    faces, texture_size = options.decimation or faces, options.texture_size or texture_size
    formats = [FORMATS.get(name.strip(), name.strip()) for name in options.formats.split(",")]
    arguments = ["batch", *map(str, options.input), "--output", str(options.output)]
    arguments += ["--seed", str(options.seed), "--device", options.device, "--formats", ",".join(formats)]
    arguments += ["--quality", quality, "--faces", str(faces), "--texture-size", str(texture_size)]
    return arguments + (["--model", options.model] if options.model else [])


if __name__ == "__main__":
    sys.exit(main())
