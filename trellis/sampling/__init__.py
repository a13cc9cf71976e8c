"""Sampling of rectified flows: schedule, guidance, Euler integration, several images (velocity functions)."""

from trellis.sampling.euler import Start, euler_sample, initial_noise
from trellis.sampling.guidance import (
    MULTI_IMAGE_MODES,
    SPEEDS,
    Velocity,
    VelocityPair,
    alternate_images,
    average_images,
    combine_images,
    extrapolate,
    guide,
)
from trellis.sampling.repaint import Known, repaint_sample
from trellis.sampling.schedule import TIME_SCALE, timesteps

__all__ = [
    "MULTI_IMAGE_MODES",
    "SPEEDS",
    "TIME_SCALE",
    "Known",
    "Start",
    "Velocity",
    "VelocityPair",
    "alternate_images",
    "average_images",
    "combine_images",
    "euler_sample",
    "extrapolate",
    "guide",
    "initial_noise",
    "repaint_sample",
    "timesteps",
]
