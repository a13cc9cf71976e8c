"""A model of any family, opened: what carries a generation out, whatever its networks are."""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from trellis.asset import Asset
from trellis.conditioning.pictures import PictureSource
from trellis.conditioning.view import PictureView
from trellis.editing.boxes import Box
from trellis.families.acquire import obtain_model
from trellis.families.licences import require_licence
from trellis.memory import MemoryPlan, ModelHost
from trellis.progress import Progress
from trellis.runtime import Runtime


class Pipeline(Protocol):
    """An opened model, ready for one generation after the other; all that the program calls of a family's networks.

    inputs, operations and representations as in `trellis.families.family.ModelDescription`; host lends the networks
    under its memory plan. `open_model` sets what the family states: options, as there, and notice, the line that
    everything made with the model carries.
    """

    name: str
    is_demo: bool
    inputs: tuple[str, ...]
    operations: tuple[str, ...]
    representations: tuple[str, ...]
    options: tuple[str, ...] = ()
    notice: str = ""
    host: ModelHost
    runtime: Runtime

    def __call__(
        self,
        source: Sequence[PictureSource] | str,
        *,
        seed: int,
        structure_steps: int | None,
        structure_guidance: float | None,
        latent_steps: int | None,
        latent_guidance: float | None,
        multi_image: str,
        speed: str,
        representations: Sequence[str],
        progress: Progress | None,
    ) -> Asset:
        """Generate an asset of pictures of one object, or of a prompt, in the representations asked for.

        The others are the options of a request that decide the asset: None means the model's own, and what a family
        does not have is ignored. Raises InvalidInputError for an unusable source or value, Cancelled within one step of
        a wish to stop.
        """

    def load_asset(self, path: str | Path) -> Asset:
        """An asset that `Asset.store` kept, on the device of this pipeline; raises InvalidInputError if it cannot."""


class Retextured(Protocol):
    """A mesh file with new pictures."""

    notes: Sequence[str]
    likeness: float | None
    notice: str

    def save(self, folder: str | Path, *, name: str) -> dict[str, Path]:
        """Write `folder/name.*`; the paths by kind."""


class EditingPipeline(Pipeline, Protocol):
    """The methods behind the other operations: a pipeline has those of the operations that it states."""

    def load_mesh(
        self, path: str | Path, *, up: str, front: str, picture: PictureSource | None, progress: Progress | None
    ) -> Asset:
        """The asset of a mesh file, as the model sees it, without representations.

        up and front as in `trellis.encoding.options.MeshOptions`; picture: what `front` is found with. Raises
        InvalidInputError for a file that cannot be used, Cancelled.
        """

    def represented(self, asset: Asset, representations: Sequence[str], *, progress: Progress | None) -> Asset:
        """An asset with the representations asked for, decoded where it has them not yet."""

    def variant(
        self,
        source: Asset,
        prompt_or_pictures: Sequence[PictureSource] | str,
        *,
        strength: float,
        shape_strength: float,
        seed: int,
        representations: Sequence[str],
        progress: Progress | None,
        **sampling: Any,
    ) -> Asset:
        """The source with the surface and the colours of pictures or a text; see `VariantRequest`."""

    def edit(
        self,
        source: Asset,
        prompt_or_pictures: Sequence[PictureSource] | str | None,
        *,
        region: Sequence[Box],
        glb: Path | None,
        view: PictureView | None,
        seed: int,
        representations: Sequence[str],
        progress: Progress | None,
        **options: Any,
    ) -> Asset:
        """The source with what is in the region made anew, or removed; see `EditRequest`."""

    def retexture(
        self,
        mesh: Path,
        prompt_or_pictures: Sequence[PictureSource] | str,
        *,
        up: str,
        front: str,
        uvs: str,
        seed: int,
        progress: Progress | None,
        **sampling: Any,
    ) -> Retextured:
        """A mesh file with the colours of pictures or a text; see `RetextureRequest`."""


def open_model(
    model: str | Path, *, runtime: Runtime, plan: MemoryPlan | None = None, progress: Progress | None = None
) -> Pipeline:
    """Open a model with what its family says, fetched first where it is not here; `progress` hears of that.

    Networks are loaded at their first use; `plan` says where they live then. Raises CheckpointError when the model
    cannot be found or is damaged, LicenceError before its licence is accepted where it must be, FetchError, Cancelled.
    """
    location = obtain_model(str(model), runtime=runtime, progress=progress)
    require_licence(location.family.licence, runtime, model=location.name)
    module, _, function = location.family.opener.partition(":")
    pipeline: Pipeline = getattr(import_module(module), function)(location, runtime=runtime, plan=plan)
    pipeline.options = location.describe().options
    pipeline.notice = "" if location.family.licence is None else location.family.licence.notice
    return pipeline
