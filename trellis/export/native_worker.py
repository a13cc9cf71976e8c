"""Child program for native code that cannot be interrupted: `python native_worker.py OPERATION INPUT.npz OUTPUT.npz`.

It is run as a file, not imported: it must start fast, so it imports numpy and the one library that it needs.
"""

import sys

import numpy as np


def simplify(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Quadric decimation of `vertices`, `faces` to `target` faces with the library's aggressiveness `agg`."""
    import fast_simplification

    vertices, faces = fast_simplification.simplify(
        arrays["vertices"], arrays["faces"], target_count=int(arrays["target"]), agg=int(arrays["agg"])
    )
    return {"vertices": np.asarray(vertices, dtype=np.float32), "faces": np.asarray(faces, dtype=np.int32)}


def unwrap(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Charts and packing by xatlas; `uvs` are in texels of the atlas, whose side is the larger of `width`, `height`."""
    import xatlas

    atlas = xatlas.Atlas()
    atlas.add_mesh(arrays["vertices"], arrays["faces"].astype(np.uint32), arrays["normals"])
    charts, pack = xatlas.ChartOptions(), xatlas.PackOptions()
    charts.max_iterations = int(arrays["iterations"])
    charts.max_chart_area = float(arrays["max_chart_area"])
    pack.resolution = int(arrays["resolution"])
    pack.padding = int(arrays["padding"])
    pack.bilinear = True
    pack.create_image = False
    atlas.generate(charts, pack)
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


OPERATIONS = {"simplify": simplify, "unwrap": unwrap}


def main(arguments: list[str]) -> None:
    operation, source, target = arguments
    with np.load(source, allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in stored.files}
    np.savez(target, allow_pickle=False, **OPERATIONS[operation](arrays))


if __name__ == "__main__":
    main(sys.argv[1:])
