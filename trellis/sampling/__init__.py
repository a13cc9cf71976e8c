"""Sampling of rectified flows: schedule, guidance, Euler integration, several images (velocity functions)."""

from trellis.sampling.euler import euler_sample, initial_noise
from trellis.sampling.guidance import (
    MULTI_IMAGE_MODES,
    Velocity,
    VelocityPair,
    alternate_images,
    average_images,
    combine_images,
    extrapolate,
    guide,
)
from trellis.sampling.schedule import TIME_SCALE, timesteps
from trellis.sampling.shortcuts import Shortcuts

__all__ = [
    "MULTI_IMAGE_MODES",
    "TIME_SCALE",
    "Shortcuts",
    "Velocity",
    "VelocityPair",
    "alternate_images",
    "average_images",
    "combine_images",
    "euler_sample",
    "extrapolate",
    "guide",
    "initial_noise",
    "timesteps",
]
