"""Readers of mesh files, each from bytes to a `SourceMesh`; every fault of a file is an InvalidInputError."""
