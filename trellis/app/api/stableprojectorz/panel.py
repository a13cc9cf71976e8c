"""The panel that the desktop client shows for this server: text made from the options' table.

Grammar: one element a line, nesting by leading spaces, `type prop=value ...`; values with spaces stand in round
brackets. Numbers are whole, because the client reads them by the rules of its user's language. The text is the same
at every call: the client builds the panel anew, and loses the user's pictures, whenever it changes.
"""

from functools import cache

from trellis.app.api.stableprojectorz.options import DESKTOP, KNOWN, RANDOM_SEED
from trellis.app.request import SEED_LIMIT

# (key, label, default): whole numbers of the panel's own; ranges are those of the keys of /generate.
SLIDERS = (
    ("ss_strength", "Structure\\nstrength", 7),
    ("ss_steps", "Structure\\nsteps", 12),
    ("slat_strength", "Detail\\nstrength", 3),
    ("slat_steps", "Detail\\nsteps", 12),
    ("mesh_simplify", "Simplify\\nmesh, %", 95),
)
DROPDOWNS = ("texture_size", "multi_image")


NEEDED = "content_min_num_needed=(make_meshes_and_tex:1, retexture:1)"


@cache
def panel_text(*, of_texts: bool = False) -> str:
    """The whole panel, as `GET /download/spz-ui-layout/generation-3d-panel` answers.

    It takes pictures or, `of_texts`, a prompt: as does the model that the program was started with.
    """
    lines = ["vgroup spacing=4 padding=6 childForceExpandHeight=false"]
    if of_texts:
        lines.append("  header visible_name=(What the object is, in English) align=center")
        lines.append(f"  text_prompt code_name=prompt visible_name=(Prompt) default=() is_positive=true {NEEDED}")
    else:
        lines.append("  header visible_name=(Pictures of one object) align=center")
        lines.append(f"  single_multi_img_input code_name=single_multi_img_input visible_name=(Pictures) {NEEDED}")
    for key, label, default in SLIDERS:
        known = DESKTOP[key]
        lines.append(
            f"  slider code_name={key} visible_name=({label}) min={int(known.low)} max={int(known.high)} "
            f"default={default} show_n_decimals=0"
        )
    for key in DROPDOWNS:
        option = KNOWN[key]
        listed = ",".join(map(str, option.values))
        position = option.values.index(option.default)
        lines.append(f"  dropdown code_name={key} visible_name=({option.label}) options=[{listed}] default={position}")
    lines.append(
        f"  int_horizontal code_name=seed visible_name=(Seed) min={1 - SEED_LIMIT} max={SEED_LIMIT - 1} "
        f"default={RANDOM_SEED} as_seed=true"
    )
    return "\n".join(lines) + "\n"
