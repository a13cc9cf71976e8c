"""Small pieces of HTML that the page shows: the state of a job, its preview and its downloads."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from urllib.parse import quote

from trellis.app.bundles import bundled_files
from trellis.app.generation import RESULT_NAME
from trellis.app.jobs import Job, JobState
from trellis.app.likeness import ADVICE, LOOK, UNLIKE, is_doubtful, is_unlike, judged
from trellis.progress import StepInfo

VIEWER_ROUTE = "/viewer.js"
EXAMPLE_ROUTE = "/example.glb"
# What is offered, in this order, and what it is; an OBJ is offered as an archive with its material and pictures.
DOWNLOADS = {
    "glb": ("GLB", "textured mesh"),
    "obj": ("OBJ", "mesh, material, textures"),
    "usdz": ("USDZ", "for phones and tablets"),
    "stl": ("STL", "closed, for 3D printing"),
    "mesh_ply": ("Mesh PLY", "coloured mesh"),
    "base_color": ("Texture", "PNG"),
    "normal_map": ("Normal map", "PNG"),
    "ply": ("Gaussian PLY", "Gaussians"),
    "splat": ("SPLAT", "Gaussians, compact"),
    "radiance_field": ("Radiance field", "for this program"),
    "mp4": ("Video", "preview"),
}


# What leads on from a result that does not look like its picture: the dialog of the cut-out, and the bar's own button.
WAYS_ON = (
    '<div class="job-ways"><button type="button" data-cutout="0" data-tool="box">Draw a box around the object</button>'
    """<button type="button" onclick="document.querySelector('#vary').click()">4 variants</button></div>"""
)
PREVIEW_TITLE = "Preview video: colours beside surface directions"


def result_address(job_id: str, path: Path) -> str:
    """Where the browser finds a result file of a job."""
    return f"/results/{job_id}/{path.name}"


def upload_address(path: Path) -> str:
    """Where the browser finds a file of the upload folder."""
    return f"/gradio_api/file={quote(str(path.absolute()))}"


def job_panel(view: Job) -> str:
    """State, stage, step, time and the stages so far of a job."""
    match view.state:
        case JobState.QUEUED:
            waiting = f"Waiting: {view.ahead} job{'s' * (view.ahead > 1)} before yours"
            return _panel(view, waiting if view.ahead else "Next in line", [], 0.0)
        case JobState.FAILED:
            return message_panel(view.message)
        case JobState.CANCELLED:
            return _panel(view, "Cancelled", [clock(view.seconds)], 0.0)
        case JobState.DONE:
            return _done_panel(view)
        case _ if not view.stages:
            return _panel(view, "Starting", [clock(view.seconds)], 0.0)
        case _:
            return _running_panel(view)


def _done_panel(view: Job) -> str:
    likeness = judged(view.likeness, view.request.operation)
    unlike, doubtful = is_unlike(likeness), is_doubtful(likeness)
    alike = [] if view.likeness is None else [f"Likeness {view.likeness:.0%}"]
    told = [ADVICE] * unlike + [LOOK] * doubtful + ([] if view.outside is None else [outside_words(view.outside)])
    told += [view.notice] if view.notice else []
    leads = (unlike or doubtful) and bool(view.pictures)
    below = _paragraphs(told) + WAYS_ON * leads
    if view.notes:
        summary = f"<summary>Notes ({len(view.notes)})</summary>"
        below += f'<details class="job-notes">{summary}{_paragraphs(view.notes)}</details>'
    return _panel(
        view,
        UNLIKE if unlike else "Done",
        [*alike, clock(view.seconds)],
        1.0,
        below,
        quality="unlike" if unlike else "good",
    )


def _paragraphs(notes: Sequence[str]) -> str:
    return "".join(f'<p class="job-note">{escape(note)}</p>' for note in notes)


def outside_words(outside: Mapping[str, float]) -> str:
    """What an edit changed outside of its region, as measured."""
    words = f"Outside: {outside['voxels_changed']:.0f} voxels changed"
    return words + (f", pictures agree to {outside['psnr']:.0f} dB" if "psnr" in outside else "")


def _running_panel(view: Job) -> str:
    now, left, name = view.stages[-1], view.seconds_left, view.fetching
    if name is not None:
        details = [f"{now.step:,} of {now.total:,} MB"]
        details += [f"{view.pace:.1f} MB/s" if view.pace < 10 else f"{view.pace:.0f} MB/s"] if view.pace else []
    else:
        details = [f"Step {now.step} of {now.total}"] * (now.total > 1)
    details.append(clock(view.seconds))
    if left is not None:
        details.append(f"about {clock(left)} left")
    titles = dict.fromkeys(_title(info) for info in view.stages[:-1])
    past = "".join(f"<li>{escape(title)}</li>" for title in titles if title != _title(now))
    share = view.progress if name is None else now.step / max(now.total, 1)
    return _panel(view, _title(now), details, share, f"<ol>{past}</ol>" if past else "")


def machine_line(parts: list[str]) -> str:
    """Where the work is done, and the memory there."""
    return '<p class="machine">' + "".join(f"<span>{escape(part)}</span>" for part in parts if part) + "</p>"


def message_panel(message: str) -> str:
    """One sentence about what went wrong."""
    return f'<div class="job" data-state="failed" role="alert"><div class="job-line">{escape(message)}</div></div>'


def draft_panel(view: Job) -> str:
    """The first picture of an asset whose files are still being made."""
    assert view.draft is not None
    source = f"{result_address(view.id, view.draft)}?{view.draft.stat().st_mtime_ns}"  # a later one is another address
    return f'<img class="draft" src="{escape(source, quote=True)}" alt="A first look at the model">'


def results_panel(view: Job, name: str) -> str:
    """The preview video and the download links of a finished job; files are offered as `name` with their suffix."""
    video = ""
    if "mp4" in view.files:
        source = escape(result_address(view.id, view.files["mp4"]), quote=True)
        video = (
            f'<a class="film" href="{source}" target="_blank" aria-label="{PREVIEW_TITLE}" title="{PREVIEW_TITLE}">'
            f'<video class="preview" src="{source}" autoplay loop muted playsinline aria-hidden="true"></video></a>'
        )
    links = [_download(view, kind, name) for kind in DOWNLOADS if kind in view.files]
    if len(links) > 1:
        links.append(_link(f"/results/{view.id}/bundle/all.zip", f"{name}.zip", "all", "All files", "one archive"))
    return f'<div class="results">{video}<div class="downloads">{"".join(links)}</div></div>'


def _download(view: Job, kind: str, name: str) -> str:
    """The link of one file, which is offered under the asset's `name` with the ending it has."""
    path = view.files[kind]
    label, note = DOWNLOADS[kind]
    address, offered = result_address(view.id, path), name + path.name.removeprefix(RESULT_NAME)
    size = path.stat().st_size
    if kind == "obj":
        size = sum(part.stat().st_size for part in bundled_files(view, "obj"))
        address, offered = f"/results/{view.id}/bundle/obj.zip", f"{name}_obj.zip"
    return _link(address, offered, kind, label, f"{note} · {size_text(size)}")


def size_text(count: int) -> str:
    """A number of bytes for people."""
    return f"{count / 1e6:.1f} MB" if count >= 100_000 else f"{max(count / 1e3, 0.1):.1f} kB"


def _link(address: str, offered: str, kind: str, label: str, note: str) -> str:
    return (
        f'<a class="download" href="{escape(address, quote=True)}" download="{escape(offered, quote=True)}" '
        f'data-kind="{kind}"><strong>{label}</strong><span>{escape(note)}</span></a>'
    )


def _panel(view: Job, line: str, details: list[str], share: float, below: str = "", *, quality: str = "") -> str:
    percent = round(100 * share)
    detail = "".join(f"<i>{escape(part)}</i>" for part in details)
    bar = (
        f'<div class="job-bar" role="progressbar" aria-valuenow="{percent}" aria-valuemin="0" aria-valuemax="100" '
        f'aria-label="{escape(line, quote=True)}"><b style="width:{percent}%"></b></div>'
    )
    return (
        f'<div class="job" data-state="{view.state}" data-job="{view.id}" data-quality="{quality}" role="status">'
        f'<div class="job-line"><strong>{escape(line)}</strong>'
        f"<span>{detail}</span></div>{bar}{below}</div>"
    )


def _title(info: StepInfo) -> str:
    return f"{info.stage.caption} {info.subject}".rstrip()


def clock(seconds: float) -> str:
    """Minutes and seconds."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
