"""The eight networks of the TRELLIS family under their published names, and their files."""

from typing import TYPE_CHECKING

from trellis.late_import import importer
from trellis.models.pipeline_config import PipelineConfig, SamplerConfig

if TYPE_CHECKING:
    from trellis.models.checkpoint import load_model, save_model
    from trellis.models.flow_session import FlowSession
    from trellis.models.initialization import initialize_for_training
    from trellis.models.network import Network
    from trellis.models.registry import create_model

# What needs torch: the server's own process only asks which models are here.
__getattr__ = importer(
    __name__,
    {
        "checkpoint": ["load_model", "save_model"],
        "flow_session": ["FlowSession"],
        "initialization": ["initialize_for_training"],
        "network": ["Network"],
        "registry": ["create_model"],
    },
)
