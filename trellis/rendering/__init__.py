"""Representation and cameras to images: Gaussians, meshes, radiance fields, and the turntable preview."""
