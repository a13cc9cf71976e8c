"""Mesh files back into the models' world: surfaces to voxels, coloured samples, views and structured latents."""
