"""Drafts of several seeds side by side, of which one is finished."""

from collections.abc import Sequence
from pathlib import Path

import gradio as gr

from trellis.app.jobs import Job
from trellis.app.ui import entries
from trellis.app.ui.studio import Session, Studio, Updates

VARIANTS = 4
SCRIPT = Path(__file__).parents[1] / "static" / "history.js"


class Variants:
    """A panel over the 3D pane while a person's newest jobs are drafts; what its buttons do is the history's own."""

    def __init__(self, studio: Studio) -> None:
        script = SCRIPT.read_text(encoding="utf-8")
        self.panel = studio.changes(gr.HTML("", js_on_load=script, apply_default_css=False, elem_id="variants"))

    def update(self, session: Session, jobs: Sequence[Job]) -> Updates:
        """The drafts among a person's jobs, the newest first, as they are now."""
        drafts = open_drafts(jobs)
        wanted = drafts and drafts[-1].id != session.put_off and any(not job.state.final or job.kept for job in drafts)
        html = entries.variants_panel(drafts) if wanted else ""
        if html == session.variants:
            return {}
        session.variants = html
        return {self.panel: html}


def open_drafts(jobs: Sequence[Job]) -> list[Job]:
    """The drafts that a person made last, the oldest first: the newest jobs, as long as they are of one thing."""
    drafts: list[Job] = []
    for job in jobs[:VARIANTS]:
        if not job.is_draft or (drafts and _asked(job) != _asked(drafts[0])):
            break
        drafts.insert(0, job)
    return drafts


def _asked(job: Job) -> tuple[object, ...]:
    """What the drafts of one set have in common; every job has copies of its pictures."""
    pictures = [(path.name, path.stat().st_size if path.is_file() else 0) for path in job.pictures]
    return job.model, job.prompt, job.name, pictures
