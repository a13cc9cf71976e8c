"""HTML of the memory presets of Hunyuan3D models: what each needs, was promised and takes."""

from trellis.app.preset_figures import figures
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
    known = figures(table, name)
    measured = UNMEASURED
    if known.measured_seconds is not None and known.measured_gb is not None:
        measured = _cost(known.measured_seconds, known.measured_gb)
    cells = (f"{TABLES[table][name].needs / GIB:g} GB", _cost(known.study_seconds, known.study_gb), measured)
    return f'<tr><th scope="row">{name}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'


def _cost(seconds: float, size: float) -> str:
    return f"{seconds:.0f} s, {size:g} GB"
