"""Mesh files of anybody's with new pictures or a new part: everything else in the file stays as it is."""
