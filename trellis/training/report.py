"""The evaluation's report: means over objects, and those by family."""

import math
from typing import Any

METHODS = ("model", "nearest_features", "nearest_pixels", "extruded_silhouette")

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
    methods = [method for method in METHODS if all(method in row for row in rows)]
    chosen = {group: [row for row in rows if row["group"] == group] for group in groups}
    table = {name: [row for row in rows if row["family"] == name] for name in families}
    return {
        "settings": settings,
        "counts": {group: len(part) for group, part in chosen.items()},
        "summary": {group: {method: mean_scores(part, method) for method in methods} for group, part in chosen.items()},
        "families": {name: {"objects": len(part), **mean_scores(part, "model")} for name, part in table.items()},
        "objects": [
            {key: row[key] for key in ("group", "family", "seed")}
            | {key: round(row["model"][key], 4) for key in ("iou", "f_score")}
            for row in rows
        ],
    }


def text(report: dict[str, Any]) -> str:
    """The means as lines: every method by group, then the families from the best to the worst."""
    lines = [
        f"{group} ({report['counts'][group]}), {method}: {_scores(scores)}"
        for group, methods in report["summary"].items()
        for method, scores in methods.items()
    ]
    ordered = sorted(report["families"].items(), key=lambda item: -item[1].get("f_score", 0.0))
    return "\n".join([*lines, *(f"{name}: {_scores(scores)}" for name, scores in ordered)])


def _scores(scores: Scores) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in scores.items())
