"""The eight networks of the TRELLIS family under their published names, and their files."""

from typing import TYPE_CHECKING

from trellis.late_import import importer
from trellis.models.pipeline_config import PipelineConfig, SamplerConfig

if TYPE_CHECKING:
    from trellis.models.checkpoint import load_model, save_model
    from trellis.models.flow_session import FlowSession
    from trellis.models.initialization import initialize_for_training
    from trellis.models.network import Network
    from trellis.models.registry import CLASSES, class_name_of, create_model

__all__ = [
    "CLASSES",
    "FlowSession",
    "Network",
    "PipelineConfig",
    "SamplerConfig",
    "class_name_of",
    "create_model",
    "initialize_for_training",
    "load_model",
    "save_model",
]
_NETWORKS = {
    "CLASSES": "registry",
    "FlowSession": "flow_session",
    "Network": "network",
    "class_name_of": "registry",
    "create_model": "registry",
    "initialize_for_training": "initialization",
    "load_model": "checkpoint",
    "save_model": "checkpoint",
}

# What needs torch: the server's own process only asks which models are here.
__getattr__ = importer(__name__, _NETWORKS)
