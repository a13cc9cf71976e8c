"""Work that is divided into ranks, on the nodes of a cluster that see the same folders."""

import logging
import os
import platform
from collections.abc import Callable
from pathlib import Path

from trellis.app.cluster.crew import REPEATS, ClusterError, joined
from trellis.app.cluster.node import program_version
from trellis.app.cluster.options import ClusterOptions

_log = logging.getLogger(__name__)

Work = Callable[[int, int], int]  # (rank, ranks) -> exit status; reaches the nodes by pickle


def run_shares(options: ClusterOptions, work: Work, *, device: str) -> list[int]:
    """The exit statuses of as many ranks as the cluster has accelerators (with `cpu`, nodes), at most `workers`.

    A rank whose node dies is begun again elsewhere. Raises ClusterError where there is no node, a node has another
    version of the program or does not see this folder, or a rank dies time after time.
    """
    with joined(options.address):
        return hand_out(options, work, device=device)


def hand_out(options: ClusterOptions, work: Work, *, device: str) -> list[int]:
    """What `run_shares` does in the cluster that this process is in."""
    import ray
    from ray.exceptions import RayError
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    nodes = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
    cards = 0 if device == "cpu" else sum(int(node["Resources"].get("GPU", 0)) for node in nodes)
    if not nodes or (device not in ("auto", "cpu") and not cards):
        raise ClusterError("The cluster has no node that can work: join one (docs/cluster.md tells how).")
    count = min(cards or len(nodes), options.workers or 1 << 30)
    if cards and ray.available_resources().get("GPU", 0) < count:
        _log.warning("Others use cards of the cluster: of %d ranks, each waits until one is free.", count)
    asked = []
    for rank in range(count):
        # A processor is shared with whatever else runs there; a card is waited for.
        place = "SPREAD" if cards else NodeAffinitySchedulingStrategy(nodes[rank]["NodeID"], soft=True)
        task = ray.remote(_share).options(
            num_gpus=int(cards > 0), num_cpus=options.worker_cpus, max_retries=REPEATS, scheduling_strategy=place
        )
        asked.append(task.remote(work, rank, count, program_version(), str(Path.cwd())))
    try:
        answers = ray.get(asked)
    except RayError as error:
        raise ClusterError(f"A share of the work was lost: {str(error).strip().splitlines()[-1]}") from error
    refused = [answer for answer in answers if isinstance(answer, str)]
    if refused:
        raise ClusterError(refused[0])
    return [answer for answer in answers if isinstance(answer, int)]


def _share(work: Work, rank: int, count: int, version: str, folder: str) -> int | str:
    """The exit status of a rank, or why this node cannot do it."""
    node = f"node {platform.node()}"
    if program_version() != version:
        return f"The {node} has another version of the program: update it."
    if not Path(folder).is_dir():
        return f"The {node} does not see {folder}: all nodes need the same folders at the same place."
    os.chdir(folder)
    return work(rank, count)
