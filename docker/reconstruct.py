"""The container guide's script: `reconstruct INPUT --output DIR --quality high --decimation 500000 ...`.

Takes the options and names of the guide, which stay in this file, and hands them on to `python -m trellis batch`.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

QUALITIES = {"balanced": "standard", "standard": "standard", "high": "high", "ultra": "ultra"}
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
    names = f"of {', '.join(FORMATS)}, or the program's own names"
    add("--formats", type=program_formats, default="mesh,gaussian,preview", metavar="A,B", help=names)
    add("--device", default="auto")
    add("--preset", metavar="NAME", help="how memory is used, as of the program's own commands")
    return parser


def program_formats(names: str) -> str:
    """The program's own names of formats that are parted by commas."""
    return ",".join(FORMATS.get(name, name) for name in map(str.strip, names.split(",")))


def translated(options: argparse.Namespace) -> list[str]:
    """Arguments of `trellis` that say the same."""
    arguments = ["batch", *map(str, options.input), "--output", str(options.output)]
    arguments += ["--seed", str(options.seed), "--device", options.device, "--formats", options.formats]
    arguments += ["--quality", QUALITIES[options.quality]]
    optional = {
        "--decimation": options.decimation,
        "--texture-size": options.texture_size,
        "--model": options.model,
        "--preset": options.preset,
    }
    return arguments + [str(word) for pair in optional.items() if pair[1] is not None for word in pair]


if __name__ == "__main__":
    sys.exit(main())
