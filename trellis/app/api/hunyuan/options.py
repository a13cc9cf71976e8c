"""What clients of Hunyuan3D's server send, in its own names and ranges, turned into a request.

Source: the keys that the Blender add-on and blender-mcp send.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from trellis.app.api.errors import FieldError
from trellis.app.api.numbers import Number
from trellis.app.request import NO_TEXTURE, SEED_LIMIT, GenerationRequest, RetextureRequest

KINDS = ("glb",)  # of `type`
SOURCES = ("image", "text", "mesh")  # base64 of a picture, a prompt, base64 of a GLB
FACES = GenerationRequest.options()["faces"]
FLAGS = ("texture", "remove_background")  # the second is checked alone: pictures with alpha are used as they are
UNUSED = "num_chunks"  # how the published program cuts its work into pieces; ours goes by the memory there is

NUMBERS: Mapping[str, Number] = {
    "seed": Number(1234, 0, SEED_LIMIT - 1, "Same seed, same result.", integer=True),
    "octree_resolution": Number(
        128, 64, 512, "Cells along each side in which the surface is looked for.", integer=True
    ),
    "num_inference_steps": Number(5, 1, 100, "Steps of the shape.", integer=True),
    "guidance_scale": Number(5, 0, 20, "How strictly the shape follows the picture."),
    "face_count": Number(40_000, FACES.minimum, FACES.maximum, "Triangles at most.", integer=True),
}


def is_of_hunyuan(values: Mapping[str, object], *, others: Sequence[str]) -> bool:
    """Whether an object of POST /generate is one of these clients': by its keys, of which `others` are not theirs."""
    return any(name in values for name in SOURCES) and not any(name in values for name in others)


def generation_request(values: Mapping[str, object], *, takes: Sequence[str]) -> GenerationRequest:
    """The request of a new model; raises FieldError. takes: the options that only some models take, of the one chosen.

    Steps, guidance and resolution are meant for a Hunyuan3D model: another goes by its own.
    """
    number = _numbers(values)
    options: dict[str, Any] = {"seed": number["seed"], "faces": number["face_count"], "formats": ("glb",)}
    if "surface_resolution" in takes:
        options |= {
            "surface_resolution": number["octree_resolution"],
            "structure_steps": number["num_inference_steps"],
            "structure_guidance": number["guidance_scale"],
        }
        if not values.get("texture"):
            options |= {"texture_model": NO_TEXTURE, "blend_picture": False}
    return GenerationRequest(**options)


def retexture_request(values: Mapping[str, object]) -> RetextureRequest:
    """The request of new colours for a mesh; raises FieldError."""
    return RetextureRequest(seed=int(_numbers(values)["seed"]))


def _numbers(values: Mapping[str, object]) -> dict[str, float | int]:
    for name in FLAGS:
        if not isinstance(values.get(name, False), bool):
            raise FieldError(name, f"{name} must be true or false.")
    kind = values.get("type") or KINDS[0]
    if kind not in KINDS:
        raise FieldError("type", f"type must be {' or '.join(KINDS)}: other formats are made by POST /jobs.")
    return {name: known.parse(name, values.get(name)) for name, known in NUMBERS.items()}
