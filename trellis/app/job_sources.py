"""What a job is made of: pictures of one object or a prompt, what it starts from, and a model that takes them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from trellis.app.jobs import Job, JobState, readable
from trellis.app.request import NO_TEXTURE, AssetRequest, EditRequest, JobRequest
from trellis.errors import InvalidInputError, LicenceError, did_you_mean

MAX_PICTURES = 64
LONGEST_PROMPT = 1000
# What the operations start from: a job's result (source) or a mesh file; those that are not here start from nothing.
STARTS: Mapping[str, tuple[str, ...]] = {
    "variant": ("source", "mesh"),
    "edit": ("source", "mesh"),
    "retexture": ("source", "mesh"),
    "encode": ("mesh",),
}

MESH_KINDS = ("glb", "obj", "mesh_ply", "stl")  # the files of a job that others can start from, the first best
BARE = (".obj", ".stl")  # what is left of these without the files beside them has no colours
REENCODED = "The asset of the source was not kept any more: it was read from the source's file again."
COLORLESS = "The source has no GLB: of its {0} file the shape alone was read, without colours."


def is_steered(request: JobRequest) -> bool:
    """Whether a job of this request needs pictures or a prompt; the others take neither."""
    return request.operation != "encode" and not (isinstance(request, EditRequest) and request.remove)


def check_start(request: JobRequest, *, source: bool, mesh: bool) -> None:
    """Raise InvalidInputError, naming the field, unless a request has what its operation starts from, and no more."""
    starts = STARTS.get(request.operation, ())
    for name, given in (("source", source), ("mesh", mesh)):
        if given and name not in starts:
            raise InvalidInputError(f"{name}: {request.operation} starts from no {name}; leave it out.", field=name)
    if starts and not (source or mesh):
        needed = " or ".join(_MEANINGS[name] for name in starts)
        raise InvalidInputError(f"{request.operation} needs {needed}.", field=starts[0])
    if source and mesh:
        raise InvalidInputError("Give source or mesh, not both.", field="mesh")
    if isinstance(request, EditRequest):
        if request.box is None:
            raise InvalidInputError("edit needs a box that says which part is meant.", field="box")
        if request.remove and request.view is not None:
            raise InvalidInputError("remove takes no picture, and so no view.", field="view")


def check_view(request: JobRequest, pictures: Sequence[Path]) -> None:
    """Raise InvalidInputError for a first picture of another size than the view that it was painted over.

    pictures: as the reader of pictures makes them, so that no side is longer than that of a view.
    """
    if isinstance(request, EditRequest) and request.view is not None and pictures:
        from PIL import Image

        from trellis.conditioning.pictures import check_frame

        with Image.open(pictures[0]) as picture:
            check_frame(picture.size, request.view.size)


def from_source(job: Job, source: Job) -> Job:
    """The job with what it starts from: the asset of its source, else (or where it takes a file) its GLB.

    Raises InvalidInputError where nothing of the source can be started from.
    """
    if source.state is not JobState.DONE:
        raise InvalidInputError("source: this job has no result (yet).", field="source")
    if isinstance(job.request, AssetRequest) and source.has_asset:
        glb = source.files.get("glb") if isinstance(job.request, EditRequest) else None
        if glb is not None and _is_moved(source.request):
            raise InvalidInputError(
                "source: the files of this job have another origin or size than the model's space, which boxes are "
                "stated in; make them again with pivot center and without real_size.",
                field="source",
            )
        return job.changed(asset=source.kept_file, mesh=glb if glb is not None and glb.is_file() else None)
    mesh = next((source.files[kind] for kind in MESH_KINDS if kind in source.files), None)
    if mesh is None or not mesh.is_file():
        raise InvalidInputError("source: neither the asset nor a GLB of this job is kept any more.", field="source")
    return job.changed(mesh=mesh)


def _is_moved(request: JobRequest) -> bool:
    """Whether the files of a request lie elsewhere than what they are made of."""
    return isinstance(request, AssetRequest) and (request.pivot != "center" or request.real_size is not None)


def source_notes(job: Job) -> tuple[str, ...]:
    """Remarks on what a job started from, where that is less than the asset of its source."""
    if job.source is None or job.mesh is None or job.asset is not None or not isinstance(job.request, AssetRequest):
        return ()
    bare = job.mesh.suffix in BARE
    return (REENCODED, *([COLORLESS.format(job.mesh.suffix[1:].upper())] if bare else []))


_MEANINGS = {"source": "a finished job (source)", "mesh": "a mesh file (mesh)"}


@dataclass(frozen=True)
class Models:
    """The models that jobs may ask for, first the one the program is started with.

    Those `of_texts` take a prompt, the others pictures. Those `to_fetch` are not here yet: nobody gets one unasked.
    `operations` are what models can do, where that is known, `options` what only they take. `refusal` says why a model
    may not be used yet, None where it may: nobody gets such a one unasked.
    """

    names: tuple[str, ...]
    of_texts: frozenset[str] = frozenset()
    to_fetch: frozenset[str] = frozenset()
    operations: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    options: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    refusal: Callable[[str], str | None] = lambda name: None

    @property
    def default(self) -> str:
        return self.names[0]

    def choose(
        self,
        model: str | None,
        *,
        prompt: str | None,
        pictures: int,
        request: JobRequest | None = None,
        usual: str | None = None,
    ) -> str:
        """The model for so many pictures or a prompt: `model` if that is stated, else the first here that takes them.

        request: by default one that generates; usual: the model that made what the job starts from, which goes before
        the others where it takes what is given. Raises InvalidInputError, naming the field, for pictures, a prompt or a
        model that do not go together, or a model that cannot do what is asked for; LicenceError for one whose licence
        nobody has accepted.
        """
        self._check_name("model", model)
        self._check_name("texture_model", getattr(request, "texture_model", None), NO_TEXTURE)
        if request is None or is_steered(request):
            usual = usual if usual in self.taking(prompts=prompt is not None) else None
            chosen = self._steered(model or usual, prompt, pictures)
        else:
            self._refuse_condition(request, prompt, pictures)
            chosen = model or (usual if usual in self.names else None) or self.default
        if request is not None and request.operation not in self.operations.get(chosen, (request.operation,)):
            able = [name for name in self.names if request.operation in self.operations.get(name, ())]
            there = f"choose another model: {', '.join(able)}" if able else "and no other model here can"
            raise InvalidInputError(f"model {chosen} cannot {request.operation}; {there}.", field="model")
        refusal = self.refusal(chosen)
        if refusal is not None:
            raise LicenceError(refusal)
        return chosen

    def _check_name(self, field: str, name: str | None, *others: str) -> None:
        """Raise InvalidInputError for a name that is none of these: clients name no folders and no repositories."""
        known = (*self.names, *others)
        if name is not None and name not in known:
            message = f"{field} must be one of {', '.join(known)}, not {name[:80]!r}."
            raise InvalidInputError(message + did_you_mean(name, known), field=field)

    def _steered(self, model: str | None, prompt: str | None, pictures: int) -> str:
        self._check_extent(prompt, pictures)
        fitting = self.taking(prompts=prompt is not None)
        wanted = "pictures" if prompt is None else "prompt"
        if not fitting:
            known = "only text models are here" if prompt is None else "no text model is here"
            raise InvalidInputError(f"{wanted}: {known}; start the program with another (--model).", field=wanted)
        if model is not None and model not in fitting:
            other = "a prompt, not pictures" if prompt is None else "pictures, not a prompt"
            raise InvalidInputError(
                f"model {model} takes {other}; for {wanted} there are {', '.join(fitting)}.", field="model"
            )
        chosen = model or self.default_of(prompts=prompt is not None)
        if chosen is None:
            known = f"no model for it is here yet; name one to have it fetched: {', '.join(fitting)}"
            raise InvalidInputError(f"{wanted}: {known}.", field=wanted)
        return chosen

    def taking(self, *, prompts: bool) -> list[str]:
        """The models that take prompts, or those that take pictures."""
        return [name for name in self.names if (name in self.of_texts) == prompts]

    def default_of(self, *, prompts: bool) -> str | None:
        """The model for prompts or for pictures where none is named, if one is here or the program's own."""
        known = (name for name in self.taking(prompts=prompts) if name not in self.to_fetch or name == self.default)
        return next((name for name in known if self.refusal(name) is None), None)

    def _refuse_condition(self, request: JobRequest, prompt: str | None, pictures: int) -> None:
        given = "pictures" if pictures else "prompt" if prompt is not None else None
        if given is not None:
            what = "remove" if isinstance(request, EditRequest) else request.operation
            raise InvalidInputError(f"{what} takes neither pictures nor a prompt: leave {given} out.", field=given)

    def _check_extent(self, prompt: str | None, pictures: int) -> None:
        if prompt is not None and pictures:
            raise InvalidInputError("Give pictures or a prompt, not both.", field="prompt")
        if prompt is None and not 1 <= pictures <= MAX_PICTURES:
            raise InvalidInputError(f"pictures must hold between 1 and {MAX_PICTURES} pictures.", field="pictures")
        if prompt is not None and not 1 <= len(prompt.strip()) <= LONGEST_PROMPT:
            raise InvalidInputError(f"prompt must have between 1 and {LONGEST_PROMPT} characters.", field="prompt")
        if prompt is not None and prompt != readable(prompt):
            raise InvalidInputError("prompt must be valid Unicode; it holds half of a character.", field="prompt")
