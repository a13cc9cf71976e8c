"""Options: ranges, closed sets, messages that name the field, and the record's round trip."""

import json
import math

import pytest

from trellis.app.presets import PRESETS
from trellis.app.request import QUALITIES, SEED_LIMIT, GenerationRequest, draw_seed, read_request, without_untouched
from trellis.errors import InvalidInputError


def test_defaults_are_valid_and_sampler_values_are_left_to_the_model() -> None:
    request = GenerationRequest()
    assert request.structure_steps is None and request.latent_guidance is None
    assert request.formats == ("glb", "ply", "mp4")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("seed", -1),
        ("seed", 2**31),
        ("seed", 1.5),
        ("seed", None),
        ("seed", True),
        ("seed", "1"),
        ("structure_steps", 0),
        ("structure_steps", 101),
        ("structure_guidance", math.nan),
        ("latent_guidance", math.inf),
        pytest.param("latent_steps", 10**5000, id="latent_steps-huge"),
        ("simplify", 1.0),
        ("simplify", -0.1),
        ("texture_size", 1000),
        ("texture_size", 1024.5),
        ("faces", 1),
        ("formats", ()),
        ("formats", ("glb", "glb")),
        ("formats", ("fbx",)),
        ("formats", "glb"),
        ("multi_image", "average"),
        ("texture_mode", "better"),
        ("texture_format", "jpg"),
        ("normal_map", 1),
        ("blend_picture", "yes"),
        ("double_sided", None),
        ("stl_size", 0),
        ("preview_content", ("depth",)),
        ("preview_size", 300),
    ],
)
def test_bad_values_name_their_field(name: str, value: object) -> None:
    with pytest.raises(InvalidInputError, match=f"^{name} must be"):
        read_request({name: value})


def test_a_misspelt_value_is_told_with_what_was_meant() -> None:
    for name, value, meant in (("speed", "fastset", "fastest"), ("formats", ("glb", "plyy"), "ply")):
        with pytest.raises(InvalidInputError, match=rf"^{name} must be.* Did you mean {meant}\?$"):
            read_request({name: value})
    with pytest.raises(InvalidInputError, match=r"512, 1024, 2048, 4096, not 7\.$"):
        read_request({"texture_size": 7})


def test_an_unknown_option_lists_the_known_ones() -> None:
    with pytest.raises(InvalidInputError, match=r"'sede'.*structure_steps, .*seed"):
        read_request({"sede": 1})


def test_simplify_and_faces_exclude_each_other() -> None:
    assert GenerationRequest(faces=5000).faces == 5000
    with pytest.raises(InvalidInputError, match="simplify and faces"):
        GenerationRequest(faces=5000, simplify=0.5)


def test_whole_floats_become_ints_and_formats_take_the_usual_order() -> None:
    request = GenerationRequest(seed=7.0, latent_guidance=3, formats=("mp4", "glb"))  # type: ignore[arg-type]
    assert type(request.seed) is int and request.seed == 7
    assert type(request.latent_guidance) is float
    assert request.formats == ("glb", "mp4")


def test_the_record_round_trips_through_json() -> None:
    request = GenerationRequest(seed=5, structure_steps=12, texture_size=512, formats=("glb",))
    assert read_request(json.loads(json.dumps(request.to_dict()))) == request


def test_every_option_is_explained_in_one_line() -> None:
    for name, option in GenerationRequest.options().items():
        assert option.label and option.help.endswith(".") and "\n" not in option.help, name


def test_drawn_seeds_are_valid_and_vary() -> None:
    seeds = {draw_seed() for _ in range(20)}
    assert len(seeds) > 10
    for seed in seeds:
        GenerationRequest(seed=seed)


def test_options_belong_to_the_asset_or_to_its_files() -> None:
    request = GenerationRequest(seed=3, latent_steps=7, texture_size=512, formats=("obj",), faces=900)
    assert request.sampling["latent_steps"] == 7 and request.files["texture_size"] == 512
    assert set(request.sampling) & set(request.files) == {"seed"}
    other = request.with_files({"texture_size": 2048})
    assert (other.seed, other.latent_steps, other.texture_size) == (3, 7, 2048)
    assert (other.formats, other.faces) == (GenerationRequest().formats, None)
    with pytest.raises(InvalidInputError, match="latent_steps decides the asset"):
        request.with_files({"latent_steps": 8})


def test_a_quality_sets_what_is_not_stated() -> None:
    for name, values in QUALITIES.items():
        request = read_request({"quality": name})
        assert {key: getattr(request, key) for key in values} == dict(values)
        assert read_request(request.to_dict()) == request
    assert read_request({"quality": "high", "texture_size": 512}).texture_size == 512
    simplified = read_request({"quality": "high", "simplify": 0.5})
    assert (simplified.simplify, simplified.faces, simplified.texture_size) == (0.5, None, 4096)
    assert read_request({"quality": None}) == GenerationRequest()


@pytest.mark.parametrize(
    ("quality", "faces", "texture_size"),
    [("standard", 500_000, 2048), ("high", 1_000_000, 4096), ("ultra", 2_000_000, 4096)],
)
def test_the_qualities_have_the_figures_of_the_guide(quality: str, faces: int, texture_size: int) -> None:
    request = read_request({"quality": quality})
    assert (request.faces, request.texture_size) == (faces, texture_size)


def test_a_memory_preset_sets_what_neither_request_nor_quality_state() -> None:
    request = read_request({"preset": "prototype", "latent_steps": 3})
    assert (request.structure_steps, request.latent_steps, request.texture_size) == (8, 3, 512)
    assert request.setup == {"preset": "prototype"}
    assert read_request({"preset": "prototype", "quality": "standard"}).texture_size == 2048
    with pytest.raises(InvalidInputError, match="preset must be one of"):
        read_request({"preset": ["fastest"]})
    with pytest.raises(InvalidInputError, match="precision decides"):
        request.with_files({"precision": "half"})


def test_the_preset_of_the_start_sets_what_is_left_open_and_nothing_else() -> None:
    def started(values: dict[str, object], preset: str | None = "prototype") -> dict[str, object]:
        request = read_request(values).under(preset)
        assert not request.unstated
        return {name: getattr(request, name) for name in PRESETS["prototype"].request}

    usual = {name: getattr(GenerationRequest(), name) for name in PRESETS["prototype"].request}
    assert started({}) == PRESETS["prototype"].request
    assert started({}, "minimal") == usual | PRESETS["minimal"].request
    assert started({}, "fastest") == started({}, None) == usual
    assert started({"preset": None, "seed": 3}) == PRESETS["prototype"].request
    for name, value in usual.items():  # also a value that is the default anyway
        assert started({name: value}) == PRESETS["prototype"].request | {name: value}
    assert started({"quality": "standard"})["texture_size"] == 2048
    assert started({"preset": "auto"}, "minimal")["preview_size"] == 256
    assert started(GenerationRequest().to_dict()) == usual


def test_what_is_left_open_survives_json_and_other_files_of_the_asset() -> None:
    for values in ({}, {"latent_steps": 3}, {"quality": "high", "simplify": 0.5}, {"preset": "prototype"}):
        request = read_request(values)
        again = read_request(json.loads(json.dumps(request.stated)))
        assert (again, again.unstated) == (request, request.unstated)
    done = read_request({"preview_frames": 9}).under("prototype")
    other = done.with_files({"preview_size": 512}).under("prototype")
    assert (other.structure_steps, other.texture_size, other.preview_frames, other.preview_size) == (8, 512, 24, 512)


def test_a_form_that_shows_every_option_states_what_was_changed_in_it() -> None:
    def stated(values: dict[str, object], preset: str | None = None) -> dict[str, object]:
        shown = read_request({"preset": preset, "quality": values.get("quality")}).to_dict()
        kept = without_untouched(shown | values, preset=preset)
        assert set(kept) >= {"quality", "preset", "simplify", "formats", "seed"}
        return {name: kept[name] for name in PRESETS["prototype"].request if name in kept}

    assert stated({}) == stated({}, "prototype") == stated({"quality": "high"}) == {}
    assert stated({"texture_size": 2048, "latent_steps": 12}) == {"texture_size": 2048, "latent_steps": 12}
    assert stated({"texture_size": 1024, "structure_steps": None}, "prototype") == {
        "texture_size": 1024,
        "structure_steps": None,
    }
    assert stated({"texture_size": 1024, "quality": "high"}) == {"texture_size": 1024}


def test_drafts_are_the_same_with_seeds_in_a_row_and_their_files_are_as_was_asked() -> None:
    request = GenerationRequest(seed=SEED_LIMIT - 1, latent_steps=7, formats=("glb", "stl"))
    drafts = request.drafts(3)
    assert [draft.seed for draft in drafts] == [SEED_LIMIT - 1, 0, 1] and all(draft.draft for draft in drafts)
    finished = drafts[1].with_files(drafts[1].stated_files)
    assert finished.to_dict() == request.to_dict() | {"seed": 0} and finished.unstated == request.unstated
