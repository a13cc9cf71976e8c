"""Changing what is there: variants, parts and colours of assets and of mesh files."""
