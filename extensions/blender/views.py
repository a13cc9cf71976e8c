"""Blender script: draw a mesh file from given cameras under the published lights, for `dataset --blender`.

    blender --background --factory-startup --python-exit-code 1 --python views.py -- JOB.json
    python views.py -- JOB.json        # of a Python that has the module bpy

Needs Blender 4.1 or newer; nothing of the program is imported. A job names `mesh` (GLB, glTF, OBJ, PLY, STL), `side`
(how long the object becomes, in a cube of side 1 at the origin), `size` (pixels), `samples` (rays a pixel), `frames`
as in transforms.json and the folder `output` of their pictures. Without a job it says its version.
"""

import json
import sys
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from mathutils import Matrix

IMPORTERS = {
    ".glb": "import_scene.gltf",
    ".gltf": "import_scene.gltf",
    ".obj": "wm.obj_import",
    ".ply": "wm.ply_import",
}
IMPORTERS[".stl"] = "wm.stl_import"
# Watts, place, and side of a square that faces the origin from above or below; 0: a point.
LIGHTS = ((1000.0, (4.0, 1.0, 6.0), 0.0), (10_000.0, (0.0, 0.0, 10.0), 100.0), (1000.0, (0.0, 0.0, -10.0), 1.0))


def draw(job: dict[str, Any]) -> None:
    """Carry a job out."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    path = Path(job["mesh"])
    package, name = IMPORTERS[path.suffix.lower()].split(".")
    getattr(getattr(bpy.ops, package), name)(filepath=str(path))
    scene = bpy.context.scene
    place_in_cube(scene, job["side"])
    add_lights(scene)
    set_rendering(scene, job["size"], job["samples"])
    camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
    scene.collection.objects.link(camera)
    scene.camera = camera
    for frame in job["frames"]:
        camera.data.angle = frame["camera_angle_x"]
        camera.matrix_world = Matrix(frame["transform_matrix"])
        scene.render.filepath = str(Path(job["output"], frame["file_path"]))
        bpy.ops.render.render(write_still=True)


def place_in_cube(scene: Any, side: float) -> None:
    """Scale what was imported to the side, its box around the origin, without its own lights and cameras."""
    for item in [item for item in scene.objects if item.type in {"LIGHT", "CAMERA"}]:
        bpy.data.objects.remove(item)
    bpy.context.view_layer.update()
    points = [world_points(item) for item in scene.objects if item.type == "MESH" and item.data.vertices]
    if not points:
        raise RuntimeError("Blender found no mesh in the file")
    low, high = np.concatenate(points).min(0), np.concatenate(points).max(0)
    scale = side / max(high - low)
    root = bpy.data.objects.new("root", None)
    scene.collection.objects.link(root)
    root.matrix_world = Matrix.Translation((low + high) * (-scale / 2)) @ Matrix.Scale(scale, 4)
    for item in [item for item in scene.objects if item.parent is None and item != root]:
        item.parent = root


def world_points(item: Any) -> np.ndarray:
    """The vertices [n, 3] of an object in the world."""
    points = np.empty(3 * len(item.data.vertices), np.float32)
    item.data.vertices.foreach_get("co", points)
    place = np.array(item.matrix_world)
    return points.reshape(-1, 3) @ place[:3, :3].T + place[:3, 3]


def add_lights(scene: Any) -> None:
    for watts, place, side in LIGHTS:
        light = bpy.data.lights.new("light", "AREA" if side else "POINT")
        light.energy = watts
        if side:
            light.size = side
        item = bpy.data.objects.new("light", light)
        item.location = place
        if place[2] < 0:
            item.rotation_euler = (np.pi, 0.0, 0.0)
        scene.collection.objects.link(item)


def set_rendering(scene: Any, size: int, samples: int) -> None:
    """Cycles with one bounce, three through glass, denoised; straight alpha, colours as they are."""
    scene.render.engine = "CYCLES"
    scene.render.resolution_x = scene.render.resolution_y = size
    scene.render.film_transparent = True
    scene.render.image_settings.file_format = "PNG"
    scene.render.image_settings.color_mode = "RGBA"
    scene.view_settings.view_transform = "Standard"
    cycles = scene.cycles
    cycles.samples, cycles.use_denoising = samples, True
    cycles.diffuse_bounces = cycles.glossy_bounces = 1
    cycles.transparent_max_bounces = cycles.transmission_bounces = 3
    known = bpy.context.preferences.addons["cycles"].preferences
    for kind in ("OPTIX", "CUDA"):
        if any(entry[0] == kind for entry in known.get_device_types(bpy.context)) and known.get_devices_for_type(kind):
            known.compute_device_type, cycles.device = kind, "GPU"
            for device in known.get_devices_for_type(kind):
                device.use = True
            return


if __name__ == "__main__":
    given = sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else []
    if given:
        draw(json.loads(Path(given[0]).read_text(encoding="utf-8")))
    else:
        sys.stdout.write(f"Blender {bpy.app.version_string}\n")
