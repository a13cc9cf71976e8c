"""Cameras, rotations, view sampling and axis conventions: pure functions."""
