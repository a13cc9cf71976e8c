"""What the OpenAPI document says about requests of the StableProjectorz routes."""

from typing import Any

from trellis.app.api.openapi import PICTURE_FILE, PICTURE_TEXT, closed_object, request_body, source_properties
from trellis.app.api.stableprojectorz.options import DESKTOP, FORM, KNOWN, OUTPUT_FORMATS, RESUME
from trellis.app.job_sources import Models


def form_body(fields: tuple[str, str]) -> dict[str, Any]:
    """The form of a blocking route: `fields` are the names of its file and of its base64 field."""
    file_name, text_name = fields
    several = file_name.endswith("list")
    maybe_empty = {name: value for name, value in PICTURE_TEXT.items() if name != "minLength"}  # as browsers send them
    properties: dict[str, Any] = {
        file_name: {"type": "array", "items": PICTURE_FILE} if several else PICTURE_FILE,
        text_name: {"type": "array", "items": maybe_empty} if several else maybe_empty,
        **{name: number.schema for name, number in FORM.items()},
        "output_format": {"type": "string", "enum": list(OUTPUT_FORMATS), "default": OUTPUT_FORMATS[0]},
    }
    schema = closed_object(properties, [])
    return request_body({"multipart/form-data": schema, "application/x-www-form-urlencoded": schema})


def desktop_body(models: Models, other: dict[str, Any]) -> dict[str, Any]:
    """The flat object of POST /generate, or that of an `other` client."""
    pictures = {
        "type": "array",
        "items": {"type": "string"},
        "description": "Base64 of pictures of one object; empty texts are empty slots.",
    }
    tiles = {"type": "array", "items": {"type": "string"}}
    sizes = KNOWN["texture_size"].values
    properties: dict[str, Any] = {
        "single_multi_img_input": pictures,
        **{name: number.schema for name, number in DESKTOP.items()},
        "texture_size": {"type": "integer", "description": f"Position in {list(sizes)}, or a size in pixels."},
        "multi_image": {"description": f"Position in {list(KNOWN['multi_image'].values)}, or the word itself."},
        "generate_what": {
            "type": "string",
            "enum": ["make_meshes_and_tex", "retexture", "retexture_via_masks"],
            "description": "The others give mesh_3d new textures: GET /download/texture.",
        },
        "mesh_3d": {"type": "string", "description": "Base64 of the mesh file to be retextured."},
        "mesh_extension": {"type": "string", "description": "Its ending: .glb, .gltf, .obj, .ply or .stl."},
        "albedo_textures_udims": tiles | {"description": "Base64 of its textures, one for each UDIM tile, ascending."},
        "painted_mask_udims": tiles | {"description": "As many masks: texels whose alpha is over a half change."},
        **source_properties(models),
    }
    schema = {"type": "object", "properties": properties}
    return request_body({"application/json": {"anyOf": [schema, other]}})


def resume_query() -> dict[str, Any]:
    """The query of POST /resume_from_preview."""
    parameters = [
        {"name": name, "in": "query", "required": False, "schema": number.schema} for name, number in RESUME.items()
    ]
    return {"parameters": parameters}
