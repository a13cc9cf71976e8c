"""An operation is one class: with it come its checks, its flags and its part of the document."""

import argparse
import subprocess
import sys
from typing import Annotated, Literal

import pytest

from trellis.app.api.openapi import job_body
from trellis.app.command_options import add_options
from trellis.app.job_sources import Models
from trellis.app.request import AssetRequest, GenerationRequest, SetupOptions, read_request
from trellis.errors import InvalidInputError
from trellis.options import SHAPE, OneOf, option


class PaintRequest(AssetRequest):
    operation: Literal["paint"] = "paint"
    brush: Annotated[str, OneOf(("round", "flat"))] = option("round", "Brush", "What paints.", group="Paint")
    strength: int | None = option(None, "Strength", "How much.", group=SHAPE, null="as it comes")


BOTH = {"generate": GenerationRequest, "paint": PaintRequest}


def test_a_request_is_read_by_its_operation() -> None:
    assert read_request({"operation": "paint", "brush": "flat", "seed": 3}, BOTH) == PaintRequest(brush="flat", seed=3)
    assert type(read_request({"seed": 3}, BOTH)) is GenerationRequest  # as all records before there were two
    assert PaintRequest(brush="flat", preset="prototype").sampling == {"seed": 0, "brush": "flat", "strength": None}
    for values, field, said in (
        ({"operation": "paint", "brush": "wide"}, "brush", "brush must be one of round, flat, not 'wide'"),
        ({"operation": "paint", "latent_steps": 3}, "latent_steps", "Unknown option 'latent_steps'; known: .*brush"),
        ({"operation": "generate", "brush": "flat"}, "brush", "Unknown option 'brush'"),
        ({"operation": "dance"}, "operation", "operation must be one of generate, paint, not 'dance'"),
        ({"operation": ["paint"]}, "operation", "not \\['paint'\\]"),
    ):
        with pytest.raises(InvalidInputError, match=said) as error:
            read_request(values, BOTH)
        assert error.value.field == field
    with pytest.raises(InvalidInputError, match="brush decides the asset itself"):
        PaintRequest().with_files({"brush": "flat"})


def test_a_record_states_its_operation() -> None:
    request = PaintRequest(brush="flat", texture_size=512)
    assert request.to_dict()["operation"] == "paint"
    assert (
        read_request(request.to_dict(), BOTH) == read_request(request.stated | {"operation": "paint"}, BOTH) == request
    )
    assert read_request(request.stated, BOTH) == request


def test_the_flags_of_an_operation_stand_in_groups() -> None:
    parser = argparse.ArgumentParser()
    groups = add_options(parser, PaintRequest, without=[SetupOptions])
    assert {"Paint", "Mesh", "Texture", "Files", "Preview"} <= set(groups)
    parsed = vars(
        parser.parse_args(["--brush", "flat", "--formats", "glb,stl", "--no-blend-picture", "--faces", "900"])
    )
    assert parsed == {"brush": "flat", "formats": ("glb", "stl"), "blend_picture": False, "faces": 900}
    said = " ".join(parser.format_help().split())
    assert "--brush {round,flat} What paints. (default: round)" in said and "--preset" not in said
    assert "--stl-size MM Longest side of the STL in millimetres. (1 to 10000; default: 100)" in said


def test_the_document_tells_operations_apart() -> None:
    body = job_body(Models(("nano",)), BOTH)["requestBody"]["content"]
    for kind in ("application/json", "multipart/form-data"):
        made, painted = (part["properties"] for part in body[kind]["schema"]["oneOf"])
        assert (made["operation"]["const"], painted["operation"]["const"]) == ("generate", "paint")
        assert painted["brush"]["enum"] == ["round", "flat"] and "brush" not in made and "speed" not in painted
        assert painted["strength"]["description"] == "How much. null: as it comes."
    alone = job_body(Models(("nano",)), {"generate": GenerationRequest})["requestBody"]["content"]["application/json"]
    assert "oneOf" not in alone["schema"]


def test_values_are_refused_by_an_optimised_interpreter_too() -> None:
    code = "from trellis.app.request import read_request; read_request({'latent_steps': '7'})"
    ended = subprocess.run([sys.executable, "-O", "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 1 and "latent_steps must be a whole number from 1 to 100, not '7'." in ended.stderr


def test_the_files_of_an_edit_are_options_of_every_operation() -> None:
    view = {"size": [9, 9], "box": [0, 0, 9, 9]}
    values = {"operation": "edit", "box": [[[0, 0, 0], [1, 1, 1]]], "view": view, "faces": 500, "seed": 4, "up": "z"}
    files = read_request(values).stated_files
    assert files == {"faces": 500}
    assert read_request({"operation": "variant", **files}).faces == 500
