"""Changing a part of an asset: the region, what of the source stays, and how the stages meet what stays."""
