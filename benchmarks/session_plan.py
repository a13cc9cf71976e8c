"""What `benchmarks.session` measures, in order of value, with the time each is expected to take on an H200.

Start-up counts some 12 s for the networks of the released shapes (imports 6, drawing weights and copying 3 GB twice 6)
and 7 s elsewhere; the rest follows from the published times, the targets and the number of runs.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Job:
    """One measurement: arguments of Python ({device}, {output} are filled in), seconds it should take, and its limit.

    needs: modules without which it is skipped; least: with fewer seconds left it is not begun.
    """

    name: str
    command: tuple[str, ...]
    expected: int
    limit: int
    needs: tuple[str, ...] = ()

    @property
    def least(self) -> int:
        return max(1, self.expected // 2)


def module(name: str, *options: str) -> tuple[str, ...]:
    """A benchmark with the options that all of them have."""
    return ("-m", name, "--device", "{device}", "--output", "{output}", *options)


def generation(*options: str, scale: str = "released") -> tuple[str, ...]:
    return module("benchmarks.generation", "--scale", scale, *options)


def tests(*paths: str) -> tuple[str, ...]:
    """The tests that need a GPU; a file that cannot be imported there does not keep the others from running."""
    options = ("-q", "-m", "gpu", "-p", "no:cacheprovider", "-rfE", "--continue-on-collection-errors")
    return ("-m", "pytest", *options, *paths)


def preset(name: str, limit: str, expected: int) -> Job:
    """A preset in the memory it is for; `all` and the stages with the largest peaks."""
    stages = ("--stages", "image encoder", "structure flow", "latent flow", "mesh decoder", "flexicubes", "all")
    options = ("--precision", "float16", "--preset", name, "--memory-limit", limit, "--repeats", "2", *stages)
    return Job(f"preset-{name}-{limit}", generation(*options), expected, 2 * expected + 20)


FLOWS = ("--stages", "structure flow", "latent flow", "all")
GPU_TESTS = (
    "tests/backends/test_networks_gpu.py",
    "tests/unit/ops/test_packed_attention.py",
    "tests/unit/ops/test_sparse_conv_spconv.py",
    "tests/unit/ops/test_sparse_conv_triton.py",
    "tests/unit/representations/test_flexicubes.py",
    "tests/training/test_kernels.py",
)
RENDER_TESTS = (
    "tests/backends/test_rasterize_gpu.py",
    "tests/backends/test_edge_collapse.py",
    "tests/backends/test_export_gpu.py",
    "tests/backends/test_visibility.py",
    "tests/unit/export/test_hidden.py",
    "tests/unit/encoding/test_voxelize.py",
)
WARP = ("warp",)
TESTS = ("pytest",)
# Jobs of one group run side by side: none of them is timed.
FULL: tuple[tuple[Job, ...], ...] = (
    (Job("float16", generation("--precision", "float16", "--timeline"), 35, 120),),
    (Job("export", module("benchmarks.export", "--repeats", "3"), 70, 200, WARP),),
    (Job("mesh-cleanup", module("benchmarks.mesh_cleanup", "--repeats", "3"), 35, 120, WARP),),
    (Job("sparse-conv", module("benchmarks.sparse_conv"), 20, 90),),
    (Job("profile", generation("--precision", "float16", "--profile", "--repeats", "1", "--steps", "5", "--stages",
                               "structure flow", "latent flow", "mesh decoder", "flexicubes"), 40, 120),),
    (preset("minimal", "3", 28),),
    (preset("sequential", "4", 24),),
    (preset("balanced", "6", 22),),
    (
        # Tests prove what the tables cannot, and take the longest: they share the GPU.
        Job("leaks", tests("tests/unit/test_leaks.py"), 45, 150, TESTS),
        Job("tests-ops", tests(*GPU_TESTS), 70, 180, TESTS),
        Job("tests-backends", tests(*RENDER_TESTS), 60, 150, (*TESTS, *WARP)),
        Job("parity-networks", ("-m", "tests.parity.run", "--device", "{device}"), 40, 150),
        Job("parity-back-ends", ("-m", "tests.parity.network_table", "--device", "{device}"), 40, 150),
        Job("parity-reference", ("-m", "tests.parity.render_table", "--device", "{device}", "--backend", "reference"),
            30, 120),
        Job("parity-warp", ("-m", "tests.parity.render_table", "--device", "{device}", "--backend", "warp"),
            25, 120, WARP),
    ),
    (Job("bfloat16", generation("--precision", "bfloat16", "--errors", "--repeats", "3"), 45, 120),),
    (Job("rendering", module("benchmarks.rendering", "--repeats", "3", "--profile"), 40, 120, WARP),),
    (Job("float16-errors", generation("--precision", "float16", "--errors", "--repeats", "1", "--stages", "all"),
         35, 120),),
    (preset("fastest", "8", 22),),
    (Job("speeds", generation("--precision", "float16", "--speeds", "--repeats", "1", "--stages", "all"),
         40, 120),),
    (Job("graphs-on", generation("--precision", "float16", "--graphs", "on", "--repeats", "3", *FLOWS), 25, 90),),
    (Job("graphs-off", generation("--precision", "float16", "--graphs", "off", "--repeats", "3", *FLOWS), 25, 90),),
    (Job("attention", module("benchmarks.attention"), 15, 90),),
    (preset("minimal", "4", 26),),
    (preset("prototype", "4", 20),),
    (
        Job("evaluation", ("-m", "trellis.training.evaluate", "--model", "assets/models/trellis-nano", "--count",
                           "200", "--left-out", "20", "--rendered", "40", "--device", "{device}",
                           "--output", "{output}/report.json"), 60, 240, WARP),
        Job("texture", module("benchmarks.texture", "mug", "chair", "bear", "guitar", "--modes", "fast", "--sizes",
                              "1024", "--minimum", "0"), 45, 150, WARP),
        Job("encoding", module("benchmarks.encoding"), 20, 90, WARP),
    ),
    (Job("speeds-quality", module("benchmarks.speeds", "--objects", "8"), 240, 300),),
    (Job("float32", generation("--precision", "float32", "--repeats", "1"), 55, 120),),
    (Job("tests-memory", tests("tests/backends/test_memory_limit.py"), 150, 300, TESTS),),
)  # fmt: skip

# The same measurements on a CPU, small: they show that the commands work, not how fast anything is.
TINY = ("--repeats", "1", "--steps", "2")
SMALL: tuple[tuple[Job, ...], ...] = (
    (Job("float16", generation("--precision", "float32", "--timeline", *TINY, scale="tiny"), 30, 300),),
    (Job("bfloat16", generation("--precision", "bfloat16", "--errors", *TINY, scale="tiny"), 30, 300),),
    (Job("speeds", generation("--precision", "float32", "--speeds", "--profile", *TINY, *FLOWS, scale="tiny"),
         40, 300),),
    (Job("preset", generation("--precision", "float32", "--preset", "minimal", *TINY, scale="tiny"), 30, 300),),
    (
        Job("leaks", tests("tests/unit/test_leaks.py"), 20, 120, TESTS),
        Job("parity-warp", ("-m", "tests.parity.render_table", "--device", "{device}", "--backend", "warp"),
            60, 300, WARP),
    ),
    (Job("sparse-conv", module("benchmarks.sparse_conv", "--precision", "float32", "--scale", "tiny"), 15, 120),),
    (Job("rendering", module("benchmarks.rendering", "--scene", "nano", "--repeats", "1", "--frames", "2", "--size",
                             "64", "--profile"), 40, 300, WARP),),
    (Job("export", module("benchmarks.export", "--repeats", "1", "--resolution", "16", "--views", "6", "--view-size",
                          "128", "--texture", "512", "--frames", "2", "--frame-size", "64"), 90, 400, WARP),),
    (Job("mesh-cleanup", module("benchmarks.mesh_cleanup", "--repeats", "1", "--faces", "20000"), 60, 300, WARP),),
    (
        Job("evaluation", ("-m", "trellis.training.evaluate", "--model", "assets/models/trellis-nano", "--count", "1",
                           "--left-out", "1", "--known", "16", "--rendered", "1", "--steps", "2", "--device",
                           "{device}", "--output", "{output}/report.json"), 60, 400, WARP),
    ),
    (Job("texture", module("benchmarks.texture", "bear", "--modes", "fast", "--sizes", "512", "--views", "2",
                           "--view-size", "64", "--minimum", "0"), 60, 400, WARP),),
    (Job("encoding", module("benchmarks.encoding", "--faces", "2000", "--repeats", "1"), 40, 300, WARP),),
)  # fmt: skip
