"""The routes and names of the servers of Hunyuan3D, for their clients (the Blender add-on and others)."""
