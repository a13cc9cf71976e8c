"""HTML of the memory presets of Hunyuan3D models: what each needs, was promised and takes."""

from trellis.app.preset_figures import MEASURED, STUDY
from trellis.app.presets import GIB, TABLES

HEADS = ("Preset", "Memory", "8 GB study", "Measured")
UNMEASURED = "not yet"
STUDY_NOTE = "The study's are forecasts for the published program."


def preset_table(table: str) -> str:
    """A row a preset; nothing for a table that the study does not speak of."""
    if not table.startswith("hunyuan"):
        return ""
    head = "".join(f'<th scope="col">{name}</th>' for name in HEADS)
    rows = "".join(_row(table, name) for name in TABLES[table])
    return f'<table class="presets"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table><p>{STUDY_NOTE}</p>'


def _row(table: str, name: str) -> str:
    measured = MEASURED.get(table, {}).get(name)
    told = UNMEASURED if measured is None else _cost(*measured)
    cells = (f"{TABLES[table][name].needs / GIB:g} GB", _cost(*STUDY[name]), told)
    return f'<tr><th scope="row">{name}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'


def _cost(seconds: float, size: float) -> str:
    return f"{seconds:.0f} s, {size:g} GB"
