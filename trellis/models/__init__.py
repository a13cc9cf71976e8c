"""The eight networks of the family, under their published names."""

from trellis.models.initialization import initialize_for_training
from trellis.models.network import Network
from trellis.models.registry import CLASSES, class_name_of, create_model

__all__ = ["CLASSES", "Network", "class_name_of", "create_model", "initialize_for_training"]
