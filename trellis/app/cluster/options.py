"""Which cluster works, and with how much of it; quick to import."""

import argparse
from dataclasses import dataclass

from trellis.errors import InvalidInputError

LOCAL = "local"  # a cluster of this machine alone, which ends with the program
AUTO = "auto"


@dataclass(frozen=True)
class ClusterOptions:
    """Where the cluster is, the most workers (0: all there are), and the cores of each (0: its share of a node's).

    Raises InvalidInputError for numbers below 0.
    """

    address: str
    workers: int = 0
    worker_cpus: int = 0

    def __post_init__(self) -> None:
        if self.workers < 0 or self.worker_cpus < 0:
            raise InvalidInputError("workers and worker-cpus must be at least 1.")

    @classmethod
    def from_arguments(cls, parsed: argparse.Namespace) -> "ClusterOptions | None":
        """What a parser with `add_cluster_options` found; None where no cluster is asked for."""
        if parsed.cluster is not None:
            return cls(parsed.cluster, parsed.workers, parsed.worker_cpus)
        if parsed.worker_cpus:
            raise InvalidInputError("worker-cpus are those of a cluster's workers: give --cluster too.")
        return None


def add_cluster_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that let other machines work."""
    add = parser.add_argument_group("Many machines").add_argument
    cluster = f"address of a Ray cluster that does the work, or {LOCAL!r} for this machine's cards (default: none)"
    add("--cluster", metavar="ADDRESS", help=cluster)
    workers = "at most so many workers, of which every accelerator has one (default: auto, all)"
    add("--workers", type=_count, default=0, metavar="{auto,N}", help=workers)
    cpus = "processor cores of a cluster's worker (default: auto, its share of the machine's)"
    add("--worker-cpus", type=_count, default=0, metavar="{auto,N}", help=cpus)


def _count(text: str) -> int:
    return 0 if text == AUTO else int(text)
