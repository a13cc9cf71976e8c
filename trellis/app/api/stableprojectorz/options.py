"""Options of the StableProjectorz servers in their own names, units and ranges, turned into a generation request.

Every default and range of those routes is stated here, once: the panel's text, the checks and the documentation are
made from it. Sources: the protocol's lists of form fields, of the keys of /generate and of the panel's elements.
"""

from collections.abc import Mapping
from typing import Any

from trellis.app.api.errors import FieldError
from trellis.app.api.numbers import Number, parse_number, whole
from trellis.app.request import SEED_LIMIT, GenerationRequest, RetextureRequest, draw_seed
from trellis.options import Option

RANDOM_SEED = -1
KNOWN: Mapping[str, Option] = GenerationRequest.options()

SEED = Number(1, 1 - SEED_LIMIT, SEED_LIMIT - 1, "Same seed, same result; -1 draws a new one.", integer=True)
GUIDANCE_HELP = "How strictly this stage follows the picture."
STEPS_HELP = "Steps of this stage; more are slower."
SIMPLIFY_HELP = "Share of the faces that is removed; above 0.999 it is read as per cent."

# Fields of the form routes.
FORM: Mapping[str, Number] = {
    "seed": SEED,
    "ss_guidance_strength": Number(7.5, 0, 10, GUIDANCE_HELP, above_low=True),
    "ss_sampling_steps": Number(12, 0, 50, STEPS_HELP, integer=True, above_low=True),
    "slat_guidance_strength": Number(3.0, 0, 10, GUIDANCE_HELP, above_low=True),
    "slat_sampling_steps": Number(12, 0, 50, STEPS_HELP, integer=True, above_low=True),
    "preview_resolution": Number(512, 64, 2048, "Side of the preview; the next size there is.", integer=True),
    "preview_frames": Number(150, 15, 1000, "Length of the preview.", integer=True, above_low=True),
    "preview_fps": Number(20, 1, 120, "Checked, and not used: previews have one rate.", integer=True),
    "mesh_simplify_ratio": Number(0.95, 0, 100, SIMPLIFY_HELP),
    "texture_size": Number(1024, 1, 8192, "Side of the texture; the next size there is.", integer=True),
}
# Query of /resume_from_preview.
RESUME: Mapping[str, Number] = {
    "mesh_simplify_ratio": Number(0.95, 0, 1, "Share of the faces that is removed.", above_low=True),
    "texture_size": Number(1024, 0, 4096, "Side of the texture.", integer=True, above_low=True),
}
# Keys of /generate.
DESKTOP: Mapping[str, Number] = {
    "seed": SEED,
    "ss_strength": Number(7.5, 0, 10, GUIDANCE_HELP),
    "ss_steps": Number(12, 1, 50, STEPS_HELP, integer=True),
    "slat_strength": Number(3.0, 0, 10, GUIDANCE_HELP),
    "slat_steps": Number(12, 1, 50, STEPS_HELP, integer=True),
    "mesh_simplify": Number(0.95, 0, 100, SIMPLIFY_HELP),
}
RETEXTURED = ("seed", "slat_strength", "slat_steps")  # those of them that retexturing knows
OUTPUT_FORMATS = ("glb", "gltf")
# What a memory preset may set, by its name in a generation request: the names here. A client that leaves one out gets
# the default above unless the program was started with a preset that sets it.
FORM_NAMES = {
    "structure_steps": "ss_sampling_steps",
    "latent_steps": "slat_sampling_steps",
    "texture_size": "texture_size",
    "preview_size": "preview_resolution",
    "preview_frames": "preview_frames",
}
RESUME_NAMES = {"texture_size": "texture_size"}
DESKTOP_NAMES = {"structure_steps": "ss_steps", "latent_steps": "slat_steps", "texture_size": "texture_size"}


def form_request(values: Mapping[str, object], *, preview: bool) -> GenerationRequest:
    """The request that the fields of a form route state; raises FieldError."""
    output = values.get("output_format") or OUTPUT_FORMATS[0]
    if output not in OUTPUT_FORMATS:
        raise FieldError("output_format", f"output_format must be one of {', '.join(OUTPUT_FORMATS)}.")
    number: dict[str, Any] = {name: known.parse(name, values.get(name)) for name, known in FORM.items()}
    request = GenerationRequest(
        seed=_seed(number["seed"]),
        structure_guidance=number["ss_guidance_strength"],
        structure_steps=number["ss_sampling_steps"],
        latent_guidance=number["slat_guidance_strength"],
        latent_steps=number["slat_sampling_steps"],
        simplify=simplify_share(number["mesh_simplify_ratio"]),
        texture_size=next_size("texture_size", number["texture_size"]),
        preview_size=next_size("preview_size", number["preview_resolution"]),
        preview_frames=min(number["preview_frames"], int(KNOWN["preview_frames"].maximum)),
        formats=("mp4",) if preview else ("glb",),
    )
    return request.leaving_open(_unstated(values, FORM_NAMES))


def desktop_request(values: Mapping[str, object]) -> GenerationRequest:
    """The request that the keys of /generate state; null and unknown keys are passed over. Raises FieldError."""
    number: dict[str, Any] = {name: known.parse(name, values.get(name)) for name, known in DESKTOP.items()}
    request = GenerationRequest(
        seed=_seed(number["seed"]),
        structure_guidance=number["ss_strength"],
        structure_steps=number["ss_steps"],
        latent_guidance=number["slat_strength"],
        latent_steps=number["slat_steps"],
        simplify=simplify_share(number["mesh_simplify"]),
        texture_size=_size_or_index("texture_size", values.get("texture_size")),
        multi_image=_choice_or_index("multi_image", values.get("multi_image")),
        formats=("glb",),
    )
    return request.leaving_open(_unstated(values, DESKTOP_NAMES))


def retexture_request(values: Mapping[str, object]) -> RetextureRequest:
    """The request that the keys of /generate state for a mesh with new textures; raises FieldError."""
    numbers: dict[str, Any] = {name: DESKTOP[name].parse(name, values.get(name)) for name in RETEXTURED}
    request = RetextureRequest(
        seed=_seed(numbers["seed"]),
        latent_guidance=numbers["slat_strength"],
        latent_steps=numbers["slat_steps"],
        texture_size=_size_or_index("texture_size", values.get("texture_size")),
        multi_image=_choice_or_index("multi_image", values.get("multi_image")),
        uvs="tiles",
    )
    return request.leaving_open(_unstated(values, {"latent_steps": "slat_steps"}))


def resume_options(values: Mapping[str, object]) -> tuple[dict[str, Any], frozenset[str]]:
    """What /resume_from_preview sets anew in a preview's request, and what of it is unstated; raises FieldError."""
    number = {name: known.parse(name, values.get(name)) for name, known in RESUME.items()}
    options = {
        "simplify": simplify_share(number["mesh_simplify_ratio"], percent=False),
        "texture_size": next_size("texture_size", number["texture_size"]),
        "formats": ("glb",),
    }
    return options, _unstated(values, RESUME_NAMES)


def simplify_share(value: float, *, percent: bool = True) -> float:
    """A ratio or, above 0.999, a percentage as the share that `simplify` takes, up to its maximum."""
    share = value / 100 if percent and value > 0.999 else value
    return min(round(share, 6), KNOWN["simplify"].maximum)


def next_size(option: str, value: float) -> int:
    """The smallest size of an option that is not below `value`, or its largest."""
    sizes = sorted(KNOWN[option].values)
    return int(next((size for size in sizes if size >= value), sizes[-1]))


def _size_or_index(field: str, value: object) -> int:
    if value is None:
        return next_size(field, FORM[field].default)
    number = whole(field, value, low=0, high=FORM[field].high)
    known = KNOWN[field].values
    return int(known[number]) if number < len(known) else next_size(field, number)


def _choice_or_index(field: str, value: object) -> str:
    known = KNOWN[field].values
    if value is None or value == "":
        return str(KNOWN[field].default)
    if isinstance(value, str) and value in known:
        return value
    number = parse_number(field, value)
    if number not in range(len(known)):
        raise FieldError(field, f"{field} must be one of {', '.join(known)}, or its position from 0.")
    return str(known[int(number)])


def _seed(value: float) -> int:
    return draw_seed() if value == RANDOM_SEED else int(value) % SEED_LIMIT


def _unstated(values: Mapping[str, object], names: Mapping[str, str]) -> frozenset[str]:
    """Which options a client leaves out, of those that it calls `names`."""
    return frozenset(option for option, name in names.items() if values.get(name) is None)
