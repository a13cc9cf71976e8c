"""A GLB whose base colours are replaced: what may change, and that nothing else does."""

import copy
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.unit.encoding.meshes import CHECKER, GltfBuilder, png
from tests.unit.export.validator import VALIDATOR, WITHOUT_VALIDATOR, issues_of
from tests.unit.retexturing.samples import OLD, globe
from trellis.encoding.load import load_mesh
from trellis.encoding.readers.files import LoadLimits, SourceFiles
from trellis.encoding.readers.gltf_document import GltfDocument, parse_document
from trellis.errors import InvalidInputError
from trellis.retexturing.gltf_pictures import NewPicture, repainted_glb

NEW = png(np.full((8, 8, 3), (10, 20, 30), np.uint8))


def document(path: Path) -> GltfDocument:
    return parse_document(SourceFiles(path, LoadLimits()))


def repainted(path: Path, *pictures: NewPicture) -> GltfDocument:
    """The file with other pictures, written beside it and read again."""
    result = path.with_name("result.glb")
    result.write_bytes(repainted_glb(document(path), pictures))
    return document(result)


def accessor_bytes(one: GltfDocument) -> list[bytes]:
    return [bytes(one.view_bytes(entry["bufferView"])) for entry in one.json["accessors"]]


def shown(one: GltfDocument, material: int) -> np.ndarray:
    """The base colour's picture of a material."""
    reference = one.json["materials"][material]["pbrMetallicRoughness"]["baseColorTexture"]
    image = one.json["images"][one.json["textures"][reference["index"]]["source"]]
    return np.array(Image.open(io.BytesIO(one.view_bytes(image["bufferView"]))).convert("RGB"))


def rest(one: GltfDocument) -> dict[str, Any]:
    """The document without what may change."""
    content = copy.deepcopy(one.json)
    for name in ("images", "bufferViews", "buffers"):
        del content[name]
    for material in content["materials"]:
        for name in ("baseColorFactor", "baseColorTexture"):
            material["pbrMetallicRoughness"].pop(name, None)
    for mesh in content["meshes"]:
        for primitive in mesh["primitives"]:
            primitive["attributes"].pop("COLOR_0", None)
    return content


def test_only_pictures_and_base_colours_change(tmp_path: Path) -> None:
    path = globe(tmp_path / "globe.glb", rigged=True, vertex_colors=True)
    old, new = document(path), repainted(path, NewPicture([0], NEW), NewPicture([1], png(OLD)))
    assert accessor_bytes(new) == accessor_bytes(old) and len(accessor_bytes(old)) == 19
    assert rest(new) == rest(old)
    assert (shown(new, 0) == (10, 20, 30)).all() and (shown(new, 1) == (200, 30, 30)).all()
    for material in new.json["materials"]:
        assert "baseColorFactor" not in material["pbrMetallicRoughness"]
        assert material["pbrMetallicRoughness"]["roughnessFactor"] == 0.4
    for primitive in new.json["meshes"][0]["primitives"]:
        assert "COLOR_0" not in primitive["attributes"] and "JOINTS_0" in primitive["attributes"]
    normal = [bytes(one.view_bytes(one.json["images"][0]["bufferView"])) for one in (old, new)]
    assert normal[0] == normal[1] and len(new.json["images"]) == len(old.json["images"]) == 3
    assert load_mesh(path.with_name("result.glb")).materials[0].base_color == (1, 1, 1, 1)


def test_the_old_picture_s_bytes_are_gone_and_its_place_is_kept(tmp_path: Path) -> None:
    builder = GltfBuilder()
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3)).astype(np.uint8)
    texture = builder.texture(noise)
    builder.add("materials", pbrMetallicRoughness={"baseColorTexture": {"index": texture}})
    uv = {"TEXCOORD_0": builder.accessor(np.zeros((3, 2), np.float32))}
    builder.node(mesh=builder.mesh(material=0, attributes=uv))
    path = builder.write(tmp_path / "a.glb")
    old, new = document(path), repainted(path, NewPicture([0], NEW))
    assert path.with_name("result.glb").stat().st_size < path.stat().st_size - 10_000
    assert accessor_bytes(new) == accessor_bytes(old)
    assert new.json["textures"] == old.json["textures"]
    assert new.json["images"][0]["bufferView"] == old.json["images"][0]["bufferView"]


def test_a_picture_that_something_else_shows_stays_for_it(tmp_path: Path) -> None:
    """One picture is the colour of two materials and the glow of one: a new one is added for the material painted."""
    builder = GltfBuilder()
    texture = builder.texture(CHECKER, wrapS=33071)
    colored = {"pbrMetallicRoughness": {"baseColorTexture": {"index": texture, "texCoord": 1}}}
    builder.add("materials", **colored, emissiveTexture={"index": texture})
    builder.node(mesh=builder.mesh(material=0))
    path = builder.write(tmp_path / "a.glb")
    new = repainted(path, NewPicture([0], NEW))
    material = new.json["materials"][0]
    assert material["emissiveTexture"] == {"index": 0}
    assert material["pbrMetallicRoughness"]["baseColorTexture"] == {"index": 1, "texCoord": 1}
    assert new.json["textures"][1]["sampler"] == new.json["textures"][0]["sampler"]
    glow = new.json["images"][new.json["textures"][0]["source"]]
    assert bytes(new.view_bytes(glow["bufferView"])) == png(CHECKER)
    assert (shown(new, 0) == (10, 20, 30)).all()


def test_other_ways_to_state_a_colour(tmp_path: Path) -> None:
    """No material, an old gloss material, transparency, WebP: each shows the new picture alone."""
    builder = GltfBuilder()
    texture = builder.texture(CHECKER)
    builder.json["textures"][texture] = {"extensions": {"EXT_texture_webp": {"source": 0}}}
    builder.json["extensionsUsed"] = ["EXT_texture_webp", "KHR_materials_pbrSpecularGlossiness"]
    builder.json["extensionsRequired"] = ["EXT_texture_webp"]
    gloss = {"diffuseTexture": {"index": texture}, "diffuseFactor": [0.2, 0.2, 0.2, 0.5]}
    builder.add("materials", extensions={"KHR_materials_pbrSpecularGlossiness": gloss}, alphaMode="BLEND")
    uv = {"TEXCOORD_0": builder.accessor(np.zeros((3, 2), np.float32))}
    builder.node(mesh=builder.mesh(material=0, attributes=uv))
    builder.node(mesh=builder.mesh(attributes=uv))
    new = repainted(builder.write(tmp_path / "a.glb"), NewPicture([0], NEW), NewPicture([None], NEW))
    changed = new.json["materials"][0]["extensions"]["KHR_materials_pbrSpecularGlossiness"]
    assert changed["diffuseFactor"] == [1, 1, 1, 0.5] and changed["diffuseTexture"] == {"index": texture}
    assert new.json["textures"][texture] == {"source": 0} and "extensionsRequired" not in new.json
    assert new.json["extensionsUsed"] == ["KHR_materials_pbrSpecularGlossiness"]
    assert new.json["meshes"][1]["primitives"][0]["material"] == 1
    assert new.json["materials"][1]["pbrMetallicRoughness"]["metallicFactor"] == 0
    assert (shown(new, 1) == (10, 20, 30)).all()


def test_a_gltf_with_files_beside_it_becomes_one_file(tmp_path: Path) -> None:
    path = globe(tmp_path / "globe.gltf", rigged=True)
    content = json.loads(path.read_text())
    (tmp_path / "normal.png").write_bytes(png(CHECKER))
    content["images"][0] = {"uri": "normal.png"}
    path.write_text(json.dumps(content))
    old, new = document(path), repainted(path, NewPicture([0], NEW), NewPicture([1], NEW))
    assert accessor_bytes(new) == accessor_bytes(old)
    assert "uri" not in json.dumps(new.json["images"]) and "uri" not in new.json["buffers"][0]
    assert bytes(new.view_bytes(new.json["images"][0]["bufferView"])) == png(CHECKER)


def test_views_that_share_bytes_are_left_alone(tmp_path: Path) -> None:
    path = globe(tmp_path / "globe.glb")
    one = document(path)
    image = one.json["bufferViews"][one.json["images"][0]["bufferView"]]
    one.json["bufferViews"].append({"buffer": 0, "byteOffset": image["byteOffset"], "byteLength": 16})
    one.json["accessors"].append({"bufferView": len(one.json["bufferViews"]) - 1, "componentType": 5121, "count": 16})
    before = accessor_bytes(one)
    path.write_bytes(repainted_glb(one, [NewPicture([0], NEW)]))
    assert accessor_bytes(document(path)) == before


def test_damage_is_one_sentence(tmp_path: Path) -> None:
    one = document(globe(tmp_path / "globe.glb"))
    one.json["bufferViews"][0].pop("byteLength")
    del one.json["images"][0]["bufferView"]
    one.json["textures"] = 7
    with pytest.raises(InvalidInputError, match=r"globe\.glb is not a usable glTF file"):
        repainted_glb(one, [NewPicture([0], NEW)])


@pytest.mark.skipif(not VALIDATOR, reason=WITHOUT_VALIDATOR)
@pytest.mark.parametrize("rigged", [True, False])
@pytest.mark.parametrize("textured", [True, False])
def test_the_validator_has_no_more_to_say(rigged: bool, textured: bool, tmp_path: Path) -> None:
    path = globe(tmp_path / "globe.glb", rigged=rigged, textured=textured)
    before = issues_of(path.read_bytes(), tmp_path)
    after = issues_of(repainted_glb(document(path), [NewPicture([0], NEW), NewPicture([1], NEW)]), tmp_path)
    assert after["numErrors"] == after["numWarnings"] == 0
    assert {message["code"] for message in after["messages"]} <= {message["code"] for message in before["messages"]}
