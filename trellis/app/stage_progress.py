"""How far a job is, as one number: every stage has its place on a scale from 0 to 1."""

from trellis.app.jobs import JobState, JobView
from trellis.families.acquire import STAGE as FETCH_STAGE

# Where each stage ends, about in proportion to the time it takes; stages that a job does not have are passed over.
STAGE_ENDS = {
    "load model": 0.05,
    "prepare": 0.08,
    "encode": 0.10,
    "structure": 0.35,
    "latent": 0.65,
    "decode": 0.70,
    "export": 0.74,
    "texture": 0.84,
    "picture": 0.90,
    "refine": 0.93,
    "normal_map": 0.95,
    "preview": 0.99,
}
_BEGINS = dict(zip(STAGE_ENDS, [0.0, *STAGE_ENDS.values()]))


def share_done(view: JobView) -> float:
    """The share of a job that is done, from 0 to 1; it never falls while the job goes on."""
    if view.state is JobState.DONE:
        return 1.0
    reached = 0.0
    for info in view.stages:
        if info.stage in STAGE_ENDS:
            begin, end = _BEGINS[info.stage], STAGE_ENDS[info.stage]
            reached = max(reached, begin + (end - begin) * info.step / max(info.total, 1))
    return min(reached, 0.99)


def fetching(view: JobView) -> str | None:
    """What is being fetched, its steps megabytes; None where nothing is."""
    if view.state is not JobState.RUNNING or not view.stages:
        return None
    stage, _, name = view.stages[-1].stage.partition(" ")
    return name if stage == FETCH_STAGE else None


def seconds_left(view: JobView) -> float | None:
    """How long a running job may still take, guessed from its pace so far; None where it is too early to tell."""
    share = share_done(view)
    if fetching(view):
        now = view.stages[-1]
        return (now.total - now.step) / view.pace if view.pace else None
    if view.state is not JobState.RUNNING or share < 0.1:
        return None
    return view.seconds * (1 - share) / share
