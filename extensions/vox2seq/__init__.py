"""Space-filling-curve codes of voxel coordinates: Z-order and Hilbert, 10 bits an axis, in plain torch."""

from .codes import CURVES, curve_code, hilbert_code, z_order_code

__all__ = ["CURVES", "curve_code", "hilbert_code", "z_order_code"]
