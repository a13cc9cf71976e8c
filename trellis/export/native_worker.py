"""Child program for native code that cannot be interrupted: `python native_worker.py OPERATION INPUT.npz OUTPUT.npz`.

It is run as a file, not imported: it must start fast, so it imports numpy and the one library that it needs.
"""

import sys
from pathlib import Path

import numpy as np


def charts(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Charts and packing of our own; keys as in `xatlas_charts`."""
    from trellis.ops.atlas import build_atlas

    atlas = build_atlas(
        arrays["vertices"],
        arrays["faces"],
        size=int(arrays["resolution"]),
        padding=float(arrays["padding"]),
        chart_area=float(arrays["chart_area"]),
    )
    return {
        "vertex_map": atlas.source,
        "faces": atlas.faces.astype(np.int32),
        "uvs": atlas.uvs,
        "size": np.ones(2),
        "charts": np.array(atlas.chart.max() + 1),
    }


def xatlas_charts(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Charts and packing by xatlas; `uvs` are in texels of the atlas, whose side is the larger of `width`, `height`."""
    import xatlas

    atlas = xatlas.Atlas()
    atlas.add_mesh(arrays["vertices"].astype(np.float32), arrays["faces"].astype(np.uint32), arrays["normals"])
    growth, pack = xatlas.ChartOptions(), xatlas.PackOptions()
    growth.max_iterations = 1
    areas = np.linalg.norm(np.cross(*_sides(arrays["vertices"], arrays["faces"])), axis=1) / 2
    growth.max_chart_area = float(arrays["chart_area"] * areas.sum())
    pack.resolution = int(arrays["resolution"])
    pack.padding = int(arrays["padding"])
    pack.bilinear = True
    pack.create_image = False
    atlas.generate(growth, pack)
    if atlas.atlas_count != 1:
        raise RuntimeError(f"xatlas made {atlas.atlas_count} atlases where one was asked for.")
    mapping, faces, uvs = atlas[0]
    size = np.array([atlas.width, atlas.height], dtype=np.float64)
    return {
        "vertex_map": mapping.astype(np.int64),
        "faces": faces.astype(np.int32),
        "uvs": uvs.astype(np.float64) * size,
        "size": size,
        "charts": np.array(atlas.chart_count),
    }


def _sides(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    a, b, c = np.moveaxis(vertices[faces], 1, 0)
    return b - a, c - a


OPERATIONS = {"builtin": charts, "xatlas": xatlas_charts}


def main(arguments: list[str]) -> None:
    operation, source, target = arguments
    with np.load(source, allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in stored.files}
    np.savez(target, allow_pickle=False, **OPERATIONS[operation](arrays))


if __name__ == "__main__":
    # The program's own package, found by its place: this file is not started as a part of it.
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    main(sys.argv[1:])
