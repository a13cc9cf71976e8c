"""HTML of the history: the strip of jobs, what is known of one, and two beside each other."""

import time
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from trellis.app.jobs import LONGEST_NAME, Job, JobState
from trellis.app.likeness import UNLIKE, is_unlike, judged
from trellis.app.request import EditRequest, GenerationRequest
from trellis.app.ui.controls import SHOWN
from trellis.app.ui.fragments import clock, result_address
from trellis.app.ui.owners import PAGE_OWNER

STATES = {
    JobState.QUEUED: "Waiting",
    JobState.RUNNING: "Running",
    JobState.DONE: "Done",
    JobState.FAILED: "Failed",
    JobState.CANCELLED: "Cancelled",
}
OPERATION_WORDS = {
    "generate": "New files",
    "variant": "Variant",
    "edit": "Changed part",
    "remove": "Removed part",
    "retexture": "Other colours",
    "encode": "Encoded",
}
DELETED = "Deleted. It can be brought back for two minutes."
CHOOSE_OTHER = "Choose the other model in the list above."
CHOOSE_VARIANT = "Choose one to finish; the others are dropped."
NO_COOKIES = "This browser keeps no cookies, so this list goes with the page: download what you want to keep."
SAME_SETTINGS = "Both have the same settings."


def _made_by(job: Job) -> str:
    """What made a version of another job."""
    removes = isinstance(job.request, EditRequest) and job.request.remove
    return OPERATION_WORDS["remove" if removes else job.request.operation]


def job_name(job: Job) -> str:
    """What a job is called, by its files too."""
    return job.name or "asset"


def strip_panel(jobs: Sequence[Job], chosen: str | None) -> str:
    """All jobs in a row, which may be those of the page alone; nothing without any."""
    if not jobs:
        return ""
    entries = "".join(_entry(job, chosen=job.id == chosen) for job in jobs)
    note = f"<p>{NO_COOKIES}</p>" if jobs[0].owner.startswith(PAGE_OWNER) else ""
    return f'<h2 id="history-title">Your models</h2>{note}<div class="entries" role="list">{entries}</div>'


def details_panel(job: Job, jobs: Sequence[Job] = ()) -> str:
    """What is known of a job, and what can be done with it; `jobs` are its owner's, the newest first."""
    words = UNLIKE if is_unlike(judged(job.likeness, job.request.operation)) else job.message
    message = f"<p>{escape(words)}</p>" if words else ""
    prompt = f"<p>{escape(job.prompt)}</p>" if job.prompt else ""
    settings = "".join(f"<i><b>{escape(label)}</b> {escape(words)}</i>" for label, words in settings_words(job))
    actions = [_button("finish", "Finish this draft")] if job.is_draft and job.kept else []
    actions += [_button("retry", "Try again")] if job.state in (JobState.FAILED, JobState.CANCELLED) else []
    actions += [_button("compare", "Compare with another")] if job.state is JobState.DONE else []
    actions += [_button("delete", "Delete this model")] if job.state.final else [_button("cancel", "Cancel")]
    name = escape(job_name(job), quote=True)
    field = f'<input type="text" aria-label="Name" value="{name}" maxlength="{LONGEST_NAME}">'
    return (
        f'<div class="entry-details" data-job="{job.id}" data-state="{job.state}">{_versions(job, jobs)}'
        f"<p><strong>{escape(job_name(job))}</strong><span>{_facts(job, dated=True)}</span></p>"
        f'{message}{prompt}<p class="entry-settings">{settings}</p>'
        f'<div class="entry-actions">{field}{_button("rename", "Rename")}{"".join(actions)}</div>'
        "</div>"
    )


def _versions(job: Job, jobs: Sequence[Job]) -> str:
    """The tree of what was made of the same first model, with a step back and a step forth; "" for one alone."""
    known = {other.id: other for other in jobs}
    children: dict[str | None, list[Job]] = {}
    for other in reversed(jobs):
        children.setdefault(other.source, []).append(other)
    root = job
    while root.source in known:
        root = known[root.source]
    if root is job and job.id not in children:
        return ""
    back = [_step("Undo", known[job.source])] if job.source in known else []
    forth = [_step("Redo", children[job.id][-1])] if job.id in children else []
    return (
        f'<div class="versions" role="group" aria-label="Versions">{"".join(back + forth)}'
        f"<ul>{_branch(root, job, children)}</ul></div>"
    )


def _step(label: str, job: Job) -> str:
    return f'<span data-job="{job.id}">{_button("open", label)}</span>'


def _branch(job: Job, chosen: Job, children: Mapping[str | None, Sequence[Job]]) -> str:
    current = ' aria-current="true"' if job.id == chosen.id else ""
    below = "".join(_branch(child, chosen, children) for child in children.get(job.id, ()))
    made = _made_by(job) if job.source else job_name(job)
    return (
        f'<li data-job="{job.id}"{current}><button type="button" data-act="open">{escape(made)}</button>'
        f"<small>{_facts(job, dated=False)}</small>{f'<ul>{below}</ul>' if below else ''}</li>"
    )


def variants_panel(jobs: Sequence[Job]) -> str:
    """Drafts side by side; a click finishes one."""
    cells = "".join(_variant(index, job) for index, job in enumerate(jobs, start=1))
    return (
        f'<div class="variants"><div class="variants-head"><h2>{CHOOSE_VARIANT}</h2>'
        f'<span data-job="{jobs[-1].id}">{_button("later", "Later")}</span></div>'
        f'<div class="variant-row">{cells}</div></div>'
    )


def _variant(number: int, job: Job) -> str:
    """The picture of a draft that is done, which is a button, or how far it is."""
    if job.kept and job.draft is not None:
        inside = f'<img src="{escape(result_address(job.id, job.draft), quote=True)}" alt="">'
    else:
        stage = job.stages[-1].stage.caption if job.state is JobState.RUNNING and job.stages else STATES[job.state]
        inside = f'<span class="job-bar"><b style="width:{job.progress:.0%}"></b></span><small>{escape(stage)}</small>'
    told = f'data-job="{job.id}" data-state="{job.state}"{"" if job.kept else " disabled"}'
    return (
        f'<button type="button" class="variant" data-act="finish" {told}>'
        f"<span>{inside}</span><strong>Variant {number}</strong><small>Seed {job.request.seed}</small></button>"
    )


def deleted_panel(job_id: str) -> str:
    """What stands in the place of a job that was deleted."""
    return (
        f'<div class="entry-details" data-job="{job_id}" role="status"><p>{DELETED}</p>'
        f'<div class="entry-actions">{_button("undo", "Undo")}</div></div>'
    )


def asking_panel(job_id: str) -> str:
    """Asks for what a job is to be compared with."""
    return (
        f'<div class="entry-details" data-job="{job_id}" role="status"><p>{CHOOSE_OTHER}</p>'
        f'<div class="entry-actions">{_button("stop", "Do not compare")}</div></div>'
    )


def comparison_panel(first: Job, second: Job) -> str:
    """Two jobs side by side, and the settings in which they differ."""
    columns = [dict(settings_words(job, every=True)) for job in (first, second)]
    labels = [label for label in columns[0] if columns[0][label] != columns[1].get(label)]
    rows = "".join(
        f'<tr><th scope="row">{escape(label)}</th>'
        + "".join(f"<td>{escape(column.get(label, ''))}</td>" for column in columns)
        + "</tr>"
        for label in labels
    )
    table = f"<table>{rows}</table>" if rows else f"<p>{SAME_SETTINGS}</p>"
    return (
        f'<div class="entry-details comparison" data-job="{first.id}"><div class="comparison-row">'
        f"{_figure(first)}{_figure(second)}</div>{table}"
        f'<div class="entry-actions">{_button("stop", "Close the comparison")}</div></div>'
    )


def settings_words(job: Job, *, every: bool = False) -> list[tuple[str, str]]:
    """Label and value of the model, the seed and the options that differ from their defaults, or of `every` option."""
    known, values = type(job.request).options(), job.request.to_dict()
    words = [("Model", job.model.split("/")[-1]), (known["seed"].label, str(values["seed"]))]
    own = [name for name in known if name not in GenerationRequest.options()]
    for name in [*(name for name in SHOWN if name in known), *own]:
        option, value = known[name], values[name]
        if every or value != option.default:
            words.append((option.label, _words(value, option.null)))
    return words


def _words(value: Any, null: str | None) -> str:
    if value is None:
        return null or ""
    if isinstance(value, bool):
        return "on" if value else "off"
    return (
        ", ".join(map(str, value))
        if isinstance(value, (list, tuple))
        else f"{value:,}"
        if isinstance(value, int)
        else str(value)
    )


def _facts(job: Job, *, dated: bool, done: str = STATES[JobState.DONE]) -> str:
    """State, date and time taken; `done` is what a job is called that is done."""
    state = done if job.state is JobState.DONE else STATES[job.state]
    facts = ["Interrupted" if job.interrupted else state]
    facts += [time.strftime("%Y-%m-%d %H:%M", time.localtime(job.created))] if dated else []
    facts += [clock(job.took)] if job.took else []
    return "".join(f"<i>{fact}</i>" for fact in facts)


def _entry(job: Job, *, chosen: bool) -> str:
    ended = job.state in (JobState.FAILED, JobState.CANCELLED)
    action = _button("retry", "Try again") if ended else "" if job.state.final else _button("cancel", "Cancel")
    current = ' aria-current="true"' if chosen else ""
    done = _made_by(job) if job.source else STATES[JobState.DONE]  # versions share a name
    return (
        f'<div class="entry" role="listitem" data-job="{job.id}" data-state="{job.state}"{current}>'
        f'<button type="button" data-act="open">{_picture(job)}<strong>{escape(job_name(job))}</strong>'
        f"<small>{_facts(job, dated=False, done=done)}</small></button>{action}</div>"
    )


def _picture(job: Job) -> str:
    """The first look at the asset, else the picture that it is made of, else the beginning of its text."""
    path = job.draft or next(iter(job.pictures), None)
    if path is None:
        return f'<span class="entry-text">{escape((job.prompt or "")[:40])}</span>'
    return f'<img src="{escape(result_address(job.id, path), quote=True)}" alt="" loading="lazy">'


def _figure(job: Job) -> str:
    caption = f"<figcaption>{escape(job_name(job))}</figcaption>"
    if "mp4" not in job.files:
        return f"<figure>{_picture(job)}{caption}</figure>"
    source = escape(result_address(job.id, job.files["mp4"]), quote=True)
    label = escape(job_name(job), quote=True)
    return (
        f'<figure><video src="{source}" autoplay loop muted playsinline controls aria-label="{label}"></video>'
        f"{caption}</figure>"
    )


def _button(act: str, label: str) -> str:
    return f'<button type="button" data-act="{act}">{label}</button>'
