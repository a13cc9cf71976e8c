"""The evaluation's report: means over objects, a table by family, and both as Markdown."""

import math
from typing import Any

METHODS = ("model", "nearest_features", "nearest_pixels", "extruded_silhouette")
_TITLES = {
    "model": "this model",
    "nearest_features": "nearest training object (features of the image encoder)",
    "nearest_pixels": "nearest training object (pixels)",
    "extruded_silhouette": "silhouette made solid",
}
_GROUPS = {"held_out": "Known families, objects never seen", "left_out_family": "Families never seen"}
_COLUMNS = {"iou": "IoU", "f_score": "F-score", "chamfer": "Chamfer"}
_VIEWS = {
    "psnr_gaussians": "PSNR of Gaussians, dB",
    "psnr_mesh": "PSNR of mesh colours, dB",
    "silhouette_iou": "IoU of the mesh's silhouette",
}

Row = dict[str, Any]
Scores = dict[str, float]


def mean_scores(rows: list[Row], method: str) -> Scores:
    """Mean of every score that `method` has in `rows`.

    An object without any surface has no finite distance; it counts with the cube's diagonal.
    """
    names = sorted({name for row in rows for name in row[method]})
    result = {}
    for name in names:
        values = [row[method][name] for row in rows if name in row[method]]
        finite = [value for value in values if math.isfinite(value)]
        result[name] = (sum(finite) + math.sqrt(3) * (len(values) - len(finite))) / len(values)
    return {name: round(value, 4) for name, value in result.items()}


def make_report(rows: list[Row], settings: dict[str, Any]) -> dict[str, Any]:
    """Settings, means by group and method, means of the model by family, and every object's main scores."""
    groups = sorted({row["group"] for row in rows})
    families = sorted({row["family"] for row in rows})
    chosen = {group: [row for row in rows if row["group"] == group] for group in groups}
    table = {name: [row for row in rows if row["family"] == name] for name in families}
    return {
        "settings": settings,
        "counts": {group: len(part) for group, part in chosen.items()},
        "summary": {group: {method: mean_scores(part, method) for method in METHODS} for group, part in chosen.items()},
        "families": {name: {"objects": len(part), **mean_scores(part, "model")} for name, part in table.items()},
        "objects": [
            {key: row[key] for key in ("group", "family", "seed")}
            | {key: round(row["model"][key], 4) for key in ("iou", "f_score")}
            for row in rows
        ],
    }


def markdown(report: dict[str, Any]) -> str:
    """The report as a section of a page: one table a group, what the pictures say, and a table by family."""
    settings = report["settings"]
    structure = settings["structure_sampler"]
    lines = [
        "## Measured quality",
        "",
        f"{structure['steps']} steps, guidance {structure['cfg_strength']:g}, seed {settings['seed']}; means over "
        f"objects. IoU of surface voxels; F-score at {settings['f_score_distance']:g} and Chamfer distance of "
        f"{settings['surface_points']:,} surface points in the unit cube. The nearest training object is searched "
        f"among {settings['training_objects_searched']:,}.",
        "",
    ]
    for group, methods in report["summary"].items():
        lines += [f"### {_GROUPS[group]} ({report['counts'][group]})", ""]
        lines += _table(["", *_COLUMNS.values()], [[_TITLES[m], *_cells(s, _COLUMNS)] for m, s in methods.items()])
        views = [
            [title, _cell(methods["model"], f"{name}_input"), _cell(methods["model"], f"{name}_behind")]
            for name, title in _VIEWS.items()
            if f"{name}_input" in methods["model"]
        ]
        lines += _table(["this model's pictures", "input view", "from behind"], views) if views else []
    lines += ["### By family", ""]
    ordered = sorted(report["families"].items(), key=lambda item: -item[1].get("f_score", 0.0))
    rows = [[name.replace("_", " "), str(scores["objects"]), *_cells(scores, _COLUMNS)] for name, scores in ordered]
    lines += _table(["family", "objects", *_COLUMNS.values()], rows)
    return "\n".join(lines).rstrip() + "\n"


def _cells(scores: Scores, names: dict[str, str]) -> list[str]:
    return [_cell(scores, name) for name in names]


def _cell(scores: Scores, name: str) -> str:
    return f"{scores[name]:.1f}" if name.startswith("psnr") else f"{scores[name]:.3f}"


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    """Lines of a Markdown table, the first column to the left, and an empty line."""
    rule = ["---", *["---:"] * (len(head) - 1)]
    return [f"| {' | '.join(cells)} |" for cells in (head, rule, *rows)] + [""]
