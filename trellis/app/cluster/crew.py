"""The workers of a cluster: which nodes there are, which of them work, and when workers come and go."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from trellis.app.cluster.node import NodeWorker, program_version
from trellis.app.cluster.options import LOCAL, ClusterOptions
from trellis.app.cluster.tool import NodeTool
from trellis.app.executor import MOST_AT_ONCE, Executor
from trellis.app.worker_process import IDLE_SECONDS, PipelineSource
from trellis.errors import MissingDependencyError, TrellisError
from trellis.runtime import secure_ray

REPEATS = 2  # of a job whose worker died
MOST_FALSE_STARTS = 3  # of a node's workers, in a row
LOOK_SECONDS = 1.0
VERSION_SECONDS = 60.0  # in which a node must have told its version; it is asked again

_log = logging.getLogger(__name__)
Place = tuple[str, int]  # a node, and which of its accelerators


class ClusterError(TrellisError):
    """The cluster cannot be joined, or no node of it can be used."""


@contextmanager
def cluster_executor(
    options: ClusterOptions, source: PipelineSource, *, idle_seconds: float = IDLE_SECONDS, keep: bool
) -> Iterator[Executor]:
    """An executor whose tools are the workers of a cluster's nodes, as they come and go while the body runs.

    A worker that idles for `idle_seconds` ends (0: never). keep: see `NodeTool`. Raises MissingDependencyError without
    Ray, ClusterError.
    """
    with joined(options.address):
        executor = Executor([], repeats=REPEATS)
        crew = Crew(executor, source, options, idle_seconds=idle_seconds, keep=keep)
        try:
            crew.start()
            yield executor
        finally:
            crew.close()


@contextmanager
def joined(address: str) -> Iterator[None]:
    """Be in a cluster while the body runs."""
    secure_ray(local=address == LOCAL)
    try:
        import ray
        from ray.exceptions import RayError
    except ImportError as error:
        raise MissingDependencyError("A cluster needs Ray: run `setup --extra cluster` on every machine.") from error
    try:
        ray.init(address, logging_level=logging.WARNING, include_dashboard=False if address == LOCAL else None)
    except (RayError, ConnectionError, RuntimeError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise ClusterError(f"The cluster {address} cannot be joined: {reason} (docs/cluster.md tells how).") from error
    try:
        yield
    finally:
        ray.shutdown()


class Crew:
    """Keeps the tools of an executor in step with the nodes of the cluster that this process is in."""

    def __init__(
        self, executor: Executor, source: PipelineSource, options: ClusterOptions, *, idle_seconds: float, keep: bool
    ) -> None:
        self._executor = executor
        self._source = source
        self._options = options
        self._idle_seconds = idle_seconds
        self._keep = keep
        self._version = program_version()
        self._known: dict[str, bool] = {}  # whether a node has this version
        self._tools: dict[Place, NodeTool] = {}
        self._demand: list[dict[str, float]] = []
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._look_after, name="cluster", daemon=True)

    def start(self) -> None:
        """Take the nodes that are there, and look after them from now on; raises ClusterError if all are refused."""
        self.adjust()
        if not self._tools and self._known:
            raise ClusterError("No node of the cluster has this version of the program: see above.")
        if not self._tools:
            _log.warning("The cluster has no node that can work yet: jobs wait for one.")
        self._thread.start()

    def close(self) -> None:
        """Ask the cluster for nothing any more."""
        self._end.set()
        if self._thread.ident is not None:
            self._thread.join()
        self._ask_for([])

    def adjust(self) -> None:
        """Take nodes that have come, leave those that have gone, end workers that idle, ask for what jobs need."""
        import ray

        nodes = {node["NodeID"]: node for node in ray.nodes() if node["Alive"]}
        on_cards = self._on_cards(list(nodes.values()))
        places = {place: cpus for node in nodes.values() for place, cpus in self._places(node, on_cards).items()}
        self._check_versions([nodes[node_id] for node_id in dict.fromkeys(node_id for node_id, _ in places)])
        for place in [place for place in self._tools if place not in places or not self._known[place[0]]]:
            _log.warning("%s has left the cluster", self._tools[place].name)
            self._executor.remove(self._tools.pop(place))
        for place, cpus in places.items():
            full = 0 < self._options.workers <= len(self._tools)
            if place not in self._tools and self._known.get(place[0]) and not full:
                self._tools[place] = self._tool(nodes[place[0]], cpus, on_cards)
                self._executor.add(self._tools[place])
        for (node_id, _), tool in self._tools.items():
            if tool.false_starts >= MOST_FALSE_STARTS:
                _log.error("No worker can be started on %s: it is left out until it joins anew.", tool.name)
                self._known[node_id] = False
            elif tool.admit():
                self._executor.hand_out()
            if 0 < self._idle_seconds < tool.idle_for():
                _log.info("The worker on %s idles: it ends", tool.name)
                self._executor.rest(tool)
        wanted = min(self._executor.wanted, self._options.workers or self._executor.wanted)
        self._ask_for([{"GPU": 1.0} if on_cards else {"CPU": float(self._options.worker_cpus or 1)}] * wanted)

    def _on_cards(self, nodes: list[dict[str, Any]]) -> bool:
        """Whether graphics cards work, of which there must be one if nothing is stated; else processors do."""
        device = str(self._source.options.get("device", "auto"))
        return device != "cpu" and (device != "auto" or any(node["Resources"].get("GPU") for node in nodes))

    def _places(self, node: dict[str, Any], on_cards: bool) -> dict[Place, int]:
        """The places for workers on a node, and how many cores each has."""
        cards, cores = (int(node["Resources"].get(name, 0)) for name in ("GPU", "CPU"))
        count = cards if on_cards else min(cores, 1)
        cpus = self._options.worker_cpus or cores // max(count, 1)
        return {(node["NodeID"], index): cpus for index in range(count) if cpus * (index + 1) <= cores}

    def _check_versions(self, nodes: list[dict[str, Any]]) -> None:
        """Ask nodes that are new for their version of the program; those of another are refused."""
        import ray
        from ray.exceptions import GetTimeoutError, RayError

        ask = ray.remote(program_version)
        asked = {
            node["NodeID"]: (node, ask.options(num_cpus=0, scheduling_strategy=_on(node)).remote())
            for node in nodes
            if node["NodeID"] not in self._known
        }
        for node_id, (node, answer) in asked.items():
            try:
                version = ray.get(answer, timeout=VERSION_SECONDS)
            except GetTimeoutError:
                continue
            except RayError as error:
                _log.debug("%s", error)
                version = "none that can be used"
            self._known[node_id] = version == self._version
            if not self._known[node_id]:
                _log.error(
                    "%s has another version of the program (%s, here %s) and is left out: update it, and join it anew.",
                    _name(node), version, self._version,
                )  # fmt: skip

    def _tool(self, node: dict[str, Any], cpus: int, on_cards: bool) -> NodeTool:
        return NodeTool(_name(node), partial(self._start_worker, node, cpus, on_cards), keep=self._keep)

    def _start_worker(self, node: dict[str, Any], cpus: int, on_cards: bool) -> Any:
        import ray

        _log.info("A worker starts on %s", _name(node))
        actor = ray.remote(NodeWorker).options(
            num_gpus=int(on_cards), num_cpus=cpus, max_concurrency=MOST_AT_ONCE + 1, scheduling_strategy=_on(node)
        )
        return actor.remote(self._source, cpus)

    def _ask_for(self, demand: list[dict[str, float]]) -> None:
        """Tell Ray's autoscaler, where there is one, what the queue needs."""
        from ray.autoscaler.sdk import request_resources

        if demand != self._demand:
            request_resources(bundles=demand)
            self._demand = demand

    def _look_after(self) -> None:
        from ray.exceptions import RayError

        while not self._end.wait(LOOK_SECONDS):
            try:
                self.adjust()
            except RayError as error:
                _log.warning("The cluster does not answer: %s", error)


def _name(node: dict[str, Any]) -> str:
    return f"node {node['NodeManagerAddress']} ({node['NodeID'][:8]})"


def _on(node: dict[str, Any]) -> Any:
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
