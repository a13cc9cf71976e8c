"""USDZ files for augmented reality on phones and tablets: a USD scene as text and its pictures in one archive.

The archive is a zip without compression in which every file starts at a multiple of 64 bytes (source: "USDZ File
Format Specification", openusd.org).
"""

import io
import struct
import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trellis.atomic import write_bytes
from trellis.errors import InvalidInputError
from trellis.export.glb import GENERATOR, ROUGHNESS, gltf_frame
from trellis.export.pictures import png_bytes
from trellis.representations import TexturedMesh

ALIGNMENT = 64
LOCAL_HEADER = 30  # bytes of a zip's header of one file before its name
PADDING_ID = 0x1986  # the number that USD's own writer gives its padding
EPOCH = (1980, 1, 1, 0, 0, 0)  # the first date of the format: the same mesh gives the same bytes
SCENE = "object.usda"
PICTURES = {"base_color": "textures/base_color.png", "normal": "textures/normal.png"}

LAYER = """#usda 1.0
(
    customLayerData = {{
        string creator = "{creator}"
    }}
    defaultPrim = "Object"
    metersPerUnit = 1
    upAxis = "Y"
)

def Xform "Object" (
    assetInfo = {{
        string name = "Object"
    }}
    kind = "component"
)
{{
    double3 xformOp:translate = (0, {lift:.7f}, 0)
    uniform token[] xformOpOrder = ["xformOp:translate"]

    def Mesh "Surface" (
        prepend apiSchemas = ["MaterialBindingAPI"]
    )
    {{
        uniform bool doubleSided = {double_sided:d}
        float3[] extent = [{extent}]
        int[] faceVertexCounts = [{counts}]
        int[] faceVertexIndices = [{indices}]
        rel material:binding = </Object/Materials/Surface>
        normal3f[] normals = [{normals}] (
            interpolation = "vertex"
        )
        point3f[] points = [{points}]
        texCoord2f[] primvars:st = [{coordinates}] (
            interpolation = "vertex"
        )
        uniform token subdivisionScheme = "none"
    }}

    def Scope "Materials"
    {{
        def Material "Surface"
        {{
            token outputs:surface.connect = </Object/Materials/Surface/Preview.outputs:surface>

            def Shader "Preview"
            {{
                uniform token info:id = "UsdPreviewSurface"
                color3f inputs:diffuseColor.connect = </Object/Materials/Surface/BaseColor.outputs:rgb>
                float inputs:metallic = 0
                float inputs:roughness = {roughness}
{normal_input}                token outputs:surface
            }}

            def Shader "Coordinates"
            {{
                uniform token info:id = "UsdPrimvarReader_float2"
                string inputs:varname = "st"
                float2 outputs:result
            }}
{textures}        }}
    }}
}}
"""
NORMAL_INPUT = "                normal3f inputs:normal.connect = </Object/Materials/Surface/Normal.outputs:rgb>\n"
TEXTURE = """
            def Shader "{name}"
            {{
                uniform token info:id = "UsdUVTexture"
                asset inputs:file = @{file}@
{values}                token inputs:sourceColorSpace = "{color_space}"
                float2 inputs:st.connect = </Object/Materials/Surface/Coordinates.outputs:result>
                token inputs:wrapS = "repeat"
                token inputs:wrapT = "repeat"
                float3 outputs:rgb
            }}
"""
# Bytes to directions: 0..1 becomes -1..1.
NORMAL_VALUES = (
    "                float4 inputs:scale = (2, 2, 2, 1)\n                float4 inputs:bias = (-1, -1, -1, 0)\n"
)


def write_usdz(textured: TexturedMesh, path: str | Path) -> Path:
    """Write `textured` as a USDZ file and return its path; see `usdz_bytes`."""
    return write_bytes(path, usdz_bytes(textured))


def usdz_bytes(textured: TexturedMesh) -> bytes:
    """The USDZ file of `textured`: y-up, one unit a metre, standing on the floor, textures as PNG.

    Raises InvalidInputError for an empty mesh.
    """
    if not len(textured.faces):
        raise InvalidInputError("An empty mesh cannot be written as USDZ.")
    files = {SCENE: usda_text(textured).encode(), PICTURES["base_color"]: png_bytes(textured.texture)}
    if textured.normal_map is not None:
        files[PICTURES["normal"]] = png_bytes(textured.normal_map)
    return aligned_archive(files)


def usda_text(textured: TexturedMesh) -> str:
    """The scene as text: one mesh and one matte material that is no metal."""
    points = gltf_frame(textured.vertices)
    textures = _texture("BaseColor", PICTURES["base_color"], color_space="sRGB")
    if textured.normal_map is not None:
        textures += _texture("Normal", PICTURES["normal"], color_space="raw", values=NORMAL_VALUES)
    low = points.min(axis=0)
    return LAYER.format(
        creator=GENERATOR,
        lift=-float(low[1]),  # programs put the origin on the floor
        double_sided=textured.double_sided,
        extent=_tuples("%.8f", np.stack([low, points.max(axis=0)])),
        counts=", ".join(["3"] * len(textured.faces)),
        indices=", ".join(map(str, textured.faces.reshape(-1).tolist())),
        normals=_tuples("%.7f", gltf_frame(textured.normals)),
        points=_tuples("%.8f", points),
        coordinates=_tuples("%.8f", textured.uvs * [1, -1] + [0, 1]),
        roughness=ROUGHNESS,
        normal_input="" if textured.normal_map is None else NORMAL_INPUT,
        textures=textures,
    )


def _texture(name: str, file: str, *, color_space: str, values: str = "") -> str:
    return TEXTURE.format(name=name, file=file, color_space=color_space, values=values)


def _tuples(number: str, rows: NDArray[np.floating]) -> str:
    """Rows [n, k] as "(a, b), (c, d)"."""
    row = "(" + ", ".join([number] * rows.shape[1]) + ")"
    return ", ".join([row] * len(rows)) % tuple(rows.reshape(-1).tolist())


def aligned_archive(files: dict[str, bytes]) -> bytes:
    """A zip of stored files in the order given, the content of each at a multiple of ALIGNMENT bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression=zipfile.ZIP_STORED) as archive:
        for name, data in files.items():
            entry = zipfile.ZipInfo(name, date_time=EPOCH)
            entry.external_attr = 0o644 << 16
            padding = -(buffer.tell() + LOCAL_HEADER + len(name.encode())) % ALIGNMENT
            if 0 < padding < 4:  # an extra field has a header of four bytes itself
                padding += ALIGNMENT
            if padding:
                entry.extra = struct.pack("<HH", PADDING_ID, padding - 4) + bytes(padding - 4)
            archive.writestr(entry, data)
    return buffer.getvalue()
