"""What one generation made: its way into files, and into one file that keeps all of it.

What makes files is imported where they are made: a process that makes assets alone starts sooner.
"""

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from trellis.atomic import written_aside
from trellis.conditioning import PreparedImage
from trellis.conditioning.view import PictureView
from trellis.errors import InvalidInputError
from trellis.export.options import FileOptions
from trellis.geometry.similarity import IDENTITY, Similarity
from trellis.kept import FileSurface, Kept
from trellis.progress import Progress
from trellis.representations import GaussianCloud, Mesh, RadianceField

if TYPE_CHECKING:
    from trellis.export.chain import FileSources

logger = logging.getLogger(__name__)

STORED_KIND = "trellis asset 2"
SMALLEST_PICTURE = 64  # pixels
REPRESENTATIONS: Mapping[str, type] = {"gaussians": GaussianCloud, "mesh": Mesh, "radiance_field": RadianceField}


@dataclass(frozen=True)
class Asset:
    """What one generation made; representations that were not asked for are None.

    coords int32 [N, 3] and latent [N, 8] are the structured latent on a grid of `resolution`; notes are remarks for
    the user; prepared are the pictures as the networks saw them. to_cube: the map of the world (z up) of the mesh file
    that it is of into the model's cube; files are written where that was. surface: the textured surface of its file,
    where that is at hand (not stored); kept: of an edited asset, what its files keep of the source; notice: the line
    that the licence of the model asks for, which files and assets made of it carry on. texture_source: see
    `FileSources`.
    """

    gaussians: GaussianCloud | None
    mesh: Mesh | None
    radiance_field: RadianceField | None
    coords: Tensor
    latent: Tensor
    resolution: int
    prepared: tuple[PreparedImage, ...]
    notes: tuple[str, ...] = ()
    to_cube: Similarity = IDENTITY
    surface: FileSurface | None = None
    kept: Kept | None = None
    notice: str = ""
    texture_source: str = "gaussians"

    def save(
        self,
        folder: str | Path,
        *,
        name: str = "asset",
        progress: Progress | None = None,
        on_note: Callable[[str], None] = logger.warning,
        on_draft: Callable[[NDArray[np.uint8]], None] | None = None,
        on_likeness: Callable[[float], None] | None = None,
        on_kept: Callable[[float], None] | None = None,
        rasterizer: str = "builtin",
        **options: Any,
    ) -> dict[str, Path]:
        """Write `folder/name.glb` (textured mesh), `.ply` (Gaussians), `.mp4` (turntable) and others; paths by kind.

        options are the fields of `FileOptions`, such as formats=("glb", "obj"), texture_size=2048, faces=20_000;
        `on_note` hears remarks for the user, `on_draft` gets a small picture of the asset before the files are made,
        `on_likeness` how much it looks like its picture, from 0 to 1 (`trellis.export.likeness`), if it has one;
        `on_kept` how well textured files of an edited asset agree with the source's outside of the region, in dB;
        `rasterizer`, one of `runtime.RASTERIZERS`, draws pictures of the asset.
        Raises InvalidInputError for an unknown option or a value out of range, before anything is computed; files that
        are there already survive whatever goes wrong.
        """
        from trellis.export.files import write_files

        return write_files(
            self.file_sources,
            folder,
            name=name,
            options=FileOptions(**options),
            progress=progress or Progress(),
            on_note=on_note,
            on_draft=on_draft,
            on_likeness=on_likeness,
            on_kept=on_kept,
            rasterizer=rasterizer,
        )

    @property
    def file_sources(self) -> "FileSources":
        """What its files are made of."""
        from trellis.export.chain import FileSources

        kept = None if self.kept is None else self.kept.for_files()
        return FileSources(
            self.gaussians,
            self.mesh,
            self.picture,
            self.radiance_field,
            self._store_field,
            self.to_cube.inverse(),
            kept,
            self.notice,
            self.texture_source,
        )

    @property
    def view(self) -> PictureView | None:
        """The frame of the first picture; None without pictures."""
        if not self.prepared:
            return None
        first = self.prepared[0]
        known = self.kept or self.surface
        return PictureView(first.cutout.size, first.box, None if known is None else known.camera)

    @property
    def file_notes(self) -> tuple[str, ...]:
        """The remarks on the mesh file that it is of, which hold for what is made of it too."""
        return () if self.prepared or self.gaussians is not None or self.mesh is not None else self.notes

    @property
    def picture(self) -> NDArray[np.uint8] | None:
        """The object of the first picture, framed as the networks saw it: RGBA [S, S, 4] in pixels of the source.

        An object of a few pixels is enlarged to SMALLEST_PICTURE.
        """
        if not self.prepared:
            return None
        return framed_picture(self.prepared[0])

    def _store_field(self, path: Path) -> Path:
        return replace(self, gaussians=None, mesh=None, prepared=(), notes=(), kept=None).store(path)

    def store(self, path: str | Path) -> Path:
        """Keep the whole asset in one safetensors file, without loss; `Asset.load` reads it. Returns the path."""
        tensors: dict[str, Tensor] = {"coords": self.coords, "latent": self.latent}
        constants: dict[str, dict[str, float]] = {}
        for name in REPRESENTATIONS:
            representation = getattr(self, name)
            if representation is not None:
                values = {one.name: getattr(representation, one.name) for one in fields(representation)}
                tensors |= {f"{name}.{key}": value for key, value in values.items() if isinstance(value, Tensor)}
                constants[name] = {k: v for k, v in values.items() if isinstance(v, (int, float))}
        pictures = []
        for index, image in enumerate(self.prepared):
            tensors[f"prepared.{index}.cutout"] = torch.from_numpy(np.array(image.cutout.convert("RGBA")))
            tensors[f"prepared.{index}.pixels"] = torch.from_numpy(np.array(image.pixels))
            pictures.append({"box": image.box, "background": image.background, "notes": image.notes})
        kept_record = None
        if self.kept is not None:
            kept_tensors, kept_record = self.kept.tensors()
            tensors |= kept_tensors
        record = {
            "resolution": self.resolution,
            "notes": self.notes,
            "representations": constants,
            "pictures": pictures,
            "to_cube": asdict(self.to_cube),
            "kept": kept_record,
            "notice": self.notice,
            "texture_source": self.texture_source,
        }
        metadata = {STORED_KIND: json.dumps(record)}  # one entry: the library writes several in any order
        flat = {key: value.detach().cpu().clone().contiguous() for key, value in tensors.items()}
        with written_aside(path) as aside:
            save_file(flat, aside, metadata=metadata)
        return Path(path)

    @classmethod
    def load(cls, path: str | Path, *, device: torch.device | None = None) -> "Asset":
        """Read an asset that `store` kept, its tensors on `device` (default: the CPU).

        Raises InvalidInputError, which names the file, when it is missing, damaged or of another kind.
        """
        try:
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
                older = metadata.get("record") if metadata.get("kind") == "trellis asset 1" else None
                stored = metadata.get(STORED_KIND, older)
                if stored is None:
                    raise InvalidInputError(f"{path} is no stored asset.")
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - it is no dictionary
                record = json.loads(stored)
        except (OSError, SafetensorError, json.JSONDecodeError) as error:
            raise InvalidInputError(f"{path} cannot be read as a stored asset: {error}.") from error
        representations: dict[str, Any] = dict.fromkeys(REPRESENTATIONS)
        for name, constants in record["representations"].items():
            prefix = f"{name}."
            values = {k.removeprefix(prefix): v.to(device) for k, v in tensors.items() if k.startswith(prefix)}
            representations[name] = REPRESENTATIONS[name](**values, **constants)
        return cls(
            **representations,
            coords=tensors["coords"].to(device),
            latent=tensors["latent"].to(device),
            resolution=record["resolution"],
            prepared=tuple(_picture(tensors, i, picture) for i, picture in enumerate(record["pictures"])),
            notes=tuple(record["notes"]),
            to_cube=Similarity.from_dict(record.get("to_cube", {})),
            kept=Kept.restored(tensors, record["kept"], device) if record.get("kept") else None,
            notice=str(record.get("notice", "")),
            texture_source=str(record.get("texture_source", "gaussians")),
        )


def framed_picture(prepared: PreparedImage) -> NDArray[np.uint8]:
    """The object of a picture as `Asset.picture` has it."""
    framed = prepared.cutout.convert("RGBA").crop(prepared.box)
    if framed.width < SMALLEST_PICTURE:
        framed = framed.resize((SMALLEST_PICTURE, SMALLEST_PICTURE), Image.Resampling.LANCZOS)
    return np.array(framed)


def _picture(tensors: Mapping[str, Tensor], index: int, record: Mapping[str, Any]) -> PreparedImage:
    left, top, right, bottom = record["box"]
    return PreparedImage(
        cutout=Image.fromarray(tensors[f"prepared.{index}.cutout"].numpy()),
        pixels=tensors[f"prepared.{index}.pixels"].numpy(),
        box=(left, top, right, bottom),
        background=record["background"],
        notes=tuple(record["notes"]),
    )
