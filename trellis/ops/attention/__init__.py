"""Attention over packed sequences: one function, its back ends and adapters beside it."""

from trellis.ops.attention.packed import BACKENDS, MODULES, packed_attention
