"""Randomness that depends on a seed and a step only, so that a resumed run continues bit for bit."""

import torch


def mix(seed: int, *parts: int) -> int:
    """A well spread 62-bit integer of `seed` and `parts` (an integer hash, the same on every machine)."""
    value = seed & (2**64 - 1)
    for part in parts:
        value = (value ^ (part + 0x9E3779B97F4A7C15 + (value << 6) + (value >> 2))) & (2**64 - 1)
        value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & (2**64 - 1)
        value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & (2**64 - 1)
        value ^= value >> 31
    return value >> 2


def step_generator(seed: int, step: int, device: torch.device) -> torch.Generator:
    """A generator on `device` for one training step."""
    return torch.Generator(device=device).manual_seed(mix(seed, step))
