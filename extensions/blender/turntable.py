"""Blender script: import results, set their shading, render a turntable and keep the scene.

    blender --background --factory-startup --python-exit-code 1 --python turntable.py -- FILE|FOLDER... --output DIR

Needs Blender 3.4 or newer (glTF importer, Cycles); nothing of the program is imported. Of every GLB there are
then DIR/NAME.mp4 (or DIR/NAME/0001.png ... with --frames-only), DIR/NAME.png (its front) and DIR/NAME.blend.
"""

import argparse
import logging
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import bpy
import numpy as np
from mathutils import Vector

log = logging.getLogger("turntable")

SHADINGS = ("file", "smooth", "flat")  # file: the normals as they are in it
LENS_DEGREES = 40.0
MARGIN = 1.15
ELEVATION_DEGREES = 15.0
FRAMES_A_SECOND = 30
# Distance is in radii of the object, from its centre; the front is -y.
LIGHTS = (
    ("key", (-2.0, -3.0, 3.0), 3.0, 1.0),
    ("fill", (3.0, -2.0, 1.0), 4.0, 0.45),
    ("rim", (0.5, 3.0, 2.5), 2.0, 0.8),
)
LIGHT_WATTS = 160.0  # of a light of strength 1 for an object of radius 1
WORLD_STRENGTH = 0.45


@dataclass(frozen=True)
class Look:
    """How results are shaded and shown; sizes in pixels, angles in degrees, roughness None as in the file."""

    shading: str = "file"
    crease: float = 40.0
    roughness: float | None = None
    frames: int = 90
    size: int = 512
    samples: int = 32
    background: tuple[float, float, float] | None = (0.9, 0.9, 0.9)
    frames_only: bool = False


def main(arguments: Sequence[str]) -> int:
    """Process every GLB named; returns 0, 1 when something failed, 2 when nothing was found."""
    logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s", stream=sys.stdout)
    options = parse(arguments)
    background = None if options.transparent else (options.grey,) * 3
    look = Look(
        options.shading,
        options.crease,
        options.roughness,
        options.frames,
        options.size,
        options.samples,
        background,
        options.frames_only,
    )
    files = [file for source in options.sources for file in glb_files(source)]
    if not files:
        log.error("no GLB file was found in %s", ", ".join(map(str, options.sources)))
        return 2
    failed = 0
    for file in files:
        try:
            process(file, options.output or file.parent / "blender", look)
        except (RuntimeError, ValueError, OSError) as error:  # what Blender's operators raise
            log.error("%s: %s", file, error)
            failed += 1
    log.info("%d of %d done", len(files) - failed, len(files))
    return 1 if failed else 0


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The options after `--`."""
    parser = argparse.ArgumentParser(prog="turntable", description="Shade results and render their turntables.")
    add = parser.add_argument
    add("sources", nargs="+", type=Path, metavar="GLB|FOLDER")
    add("--output", type=Path, metavar="DIR", help="folder of the results (blender, beside each file)")
    add("--shading", choices=SHADINGS, default="file", help="normals of the file, smooth with creases, or flat")
    add("--crease", type=float, default=40.0, metavar="DEGREES", help="edges sharper than this stay sharp (smooth)")
    add("--roughness", type=float, metavar="X", help="of all materials, 0 to 1 (as in the file)")
    add("--frames", type=int, default=90, help="of one turn (90, three seconds)")
    add("--size", type=int, default=512, metavar="PIXELS", help="side of the pictures (512)")
    add("--samples", type=int, default=32, help="rays a pixel (32)")
    add("--grey", type=float, default=0.9, metavar="X", help="background, 0 black to 1 white (0.9)")
    add("--transparent", action="store_true", help="no background (pictures, not the video)")
    add("--frames-only", action="store_true", help="pictures of all frames in place of the video")
    options = parser.parse_args(arguments)
    for name, low, high in (("crease", 0, 180), ("frames", 1, 3600), ("size", 16, 8192), ("samples", 1, 65536)):
        if not low <= getattr(options, name) <= high:
            parser.error(f"--{name} must be from {low} to {high}")
    for name in ("roughness", "grey"):
        if getattr(options, name) is not None and not 0 <= getattr(options, name) <= 1:
            parser.error(f"--{name} must be from 0 to 1")
    return options


def glb_files(source: Path) -> list[Path]:
    """The file itself, or the GLB files of a folder by name."""
    return sorted(source.glob("*.glb")) if source.is_dir() else [source]


def process(file: Path, output: Path, look: Look) -> None:
    """Import one file, shade it, render it, and write the results; raises RuntimeError when it holds no mesh."""
    output.mkdir(parents=True, exist_ok=True)
    bpy.ops.wm.read_factory_settings(use_empty=True)
    meshes = import_meshes(file)
    for item in meshes:
        shade(item, look)
    centre, radius = bounds(meshes)
    scene = bpy.context.scene
    add_lights(centre, radius)
    add_camera(centre, radius, frames=look.frames)
    set_rendering(scene, look)
    faces = sum(len(item.data.polygons) for item in meshes)
    log.info("%s: %d faces, radius %.3f", file.name, faces, radius)
    render_still(scene, output / f"{file.stem}.png")
    render_turn(scene, output, file.stem, look)
    bpy.ops.file.pack_all()
    bpy.ops.wm.save_as_mainfile(filepath=str((output / f"{file.stem}.blend").resolve()), compress=True)


def import_meshes(file: Path) -> list[bpy.types.Object]:
    """The mesh objects of a GLB; its y-up axes are turned to Blender's z-up, so that the front is -y."""
    if not file.is_file():
        raise RuntimeError("there is no such file")
    if "bool" not in np.__dict__:  # Debian 12 pairs Blender 3.4, whose importer says np.bool, with a NumPy without it
        np.bool = bool  # type: ignore[misc, assignment]
    bpy.ops.import_scene.gltf(filepath=str(file.resolve()))
    meshes = [item for item in bpy.context.scene.objects if item.type == "MESH"]
    if not meshes:
        raise RuntimeError("there is no mesh in this file")
    return meshes


def shade(item: bpy.types.Object, look: Look) -> None:
    """Set how the surface takes the light."""
    mesh = item.data
    if look.shading != "file":
        bpy.context.view_layer.objects.active = item
        if mesh.has_custom_normals:
            bpy.ops.mesh.customdata_custom_splitnormals_clear()
        mesh.polygons.foreach_set("use_smooth", [look.shading == "smooth"] * len(mesh.polygons))
        if look.shading == "smooth" and hasattr(mesh, "use_auto_smooth"):  # until Blender 4.0
            mesh.use_auto_smooth = True
            mesh.auto_smooth_angle = math.radians(look.crease)
        elif look.shading == "smooth":
            mesh.set_sharp_from_angle(angle=math.radians(look.crease))
        mesh.update()
    if look.roughness is not None:
        for material in filter(None, mesh.materials):
            for node in material.node_tree.nodes if material.use_nodes else ():
                if node.type == "BSDF_PRINCIPLED":
                    set_value(material, node.inputs["Roughness"], look.roughness)


def set_value(material: bpy.types.Material, socket: bpy.types.NodeSocket, value: float) -> None:
    """Give an input a plain value in place of what is linked to it."""
    for link in list(socket.links):
        material.node_tree.links.remove(link)
    socket.default_value = value


def bounds(meshes: Sequence[bpy.types.Object]) -> tuple[Vector, float]:
    """Centre and radius of a sphere around the boxes of all objects."""
    corners = [item.matrix_world @ Vector(corner) for item in meshes for corner in item.bound_box]
    low = Vector(min(corner[axis] for corner in corners) for axis in range(3))
    high = Vector(max(corner[axis] for corner in corners) for axis in range(3))
    return (low + high) / 2, max((high - low).length / 2, 1e-6)


def add_lights(centre: Vector, radius: float) -> None:
    """Three soft lights around the object and an even sky."""
    for name, place, size, strength in LIGHTS:
        light = bpy.data.lights.new(name, "AREA")
        light.energy = LIGHT_WATTS * strength * radius**2
        light.size = size * radius
        item = bpy.data.objects.new(name, light)
        item.location = centre + Vector(place) * radius
        item.rotation_euler = (centre - item.location).to_track_quat("-Z", "Y").to_euler()
        bpy.context.scene.collection.objects.link(item)
    world = bpy.data.worlds.new("sky")
    world.use_nodes = True
    world.node_tree.nodes["Background"].inputs["Strength"].default_value = WORLD_STRENGTH
    world.node_tree.nodes["Background"].inputs["Color"].default_value = (1, 1, 1, 1)
    bpy.context.scene.world = world


def add_camera(centre: Vector, radius: float, *, frames: int) -> None:
    """A camera at the front that goes once around the object, on a pivot at its centre."""
    scene = bpy.context.scene
    pivot = bpy.data.objects.new("pivot", None)
    pivot.location = centre
    data = bpy.data.cameras.new("camera")
    data.angle = math.radians(LENS_DEGREES)
    camera = bpy.data.objects.new("camera", data)
    distance = MARGIN * radius / math.sin(math.radians(LENS_DEGREES / 2))
    data.clip_start, data.clip_end = distance / 100, distance * 100
    elevation = math.radians(ELEVATION_DEGREES)
    camera.location = Vector((0, -math.cos(elevation), math.sin(elevation))) * distance
    camera.rotation_euler = (-camera.location).to_track_quat("-Z", "Y").to_euler()
    camera.parent = pivot
    for item in (pivot, camera):
        scene.collection.objects.link(item)
    scene.camera = camera
    scene.frame_start, scene.frame_end = 1, frames
    for frame, angle in ((1, 0.0), (frames + 1, 2 * math.pi)):  # the frame after the last is the first again
        pivot.rotation_euler.z = angle
        pivot.keyframe_insert("rotation_euler", index=2, frame=frame)
    for key in pivot.animation_data.action.fcurves[0].keyframe_points:
        key.interpolation = "LINEAR"


def set_rendering(scene: bpy.types.Scene, look: Look) -> None:
    """Cycles on the CPU, which needs no display; the object's colours as the texture has them."""
    scene.render.engine = "CYCLES"
    scene.cycles.device = "CPU"
    scene.cycles.samples = look.samples
    scene.cycles.use_denoising = False  # not every build has the denoiser
    scene.cycles.seed = 0
    scene.view_settings.view_transform = "Standard"
    scene.render.resolution_x = scene.render.resolution_y = look.size
    scene.render.resolution_percentage = 100
    scene.render.fps = FRAMES_A_SECOND
    scene.render.film_transparent = True
    if look.background is not None:
        add_background(scene, look.background)


def add_background(scene: bpy.types.Scene, color: tuple[float, float, float]) -> None:
    """Lay an even colour behind the object, without its light on the object. color: sRGB."""
    scene.use_nodes = True
    nodes, links = scene.node_tree.nodes, scene.node_tree.links
    layers = next(node for node in nodes if node.type == "R_LAYERS")
    result = next(node for node in nodes if node.type == "COMPOSITE")
    over = nodes.new("CompositorNodeAlphaOver")
    over.inputs[1].default_value = (*(channel**2.2 for channel in color), 1)
    links.new(layers.outputs["Image"], over.inputs[2])
    links.new(over.outputs["Image"], result.inputs["Image"])


def render_still(scene: bpy.types.Scene, path: Path) -> None:
    """Render the front to a PNG."""
    scene.frame_set(1)
    settings = scene.render.image_settings
    settings.file_format, settings.color_mode = "PNG", "RGBA"
    scene.render.filepath = str(path.resolve())
    bpy.ops.render.render(write_still=True)


def render_turn(scene: bpy.types.Scene, output: Path, name: str, look: Look) -> None:
    """Render one turn: a video (H.264), or a folder of numbered pictures."""
    if look.frames_only or look.background is None:
        scene.render.filepath = str((output / name).resolve()) + "/"
        bpy.ops.render.render(animation=True)
        return
    settings = scene.render.image_settings
    settings.file_format, settings.color_mode = "FFMPEG", "RGB"
    scene.render.ffmpeg.format, scene.render.ffmpeg.codec = "MPEG4", "H264"
    scene.render.ffmpeg.constant_rate_factor = "HIGH"
    scene.render.filepath = str((output / f"{name}.mp4").resolve())
    bpy.ops.render.render(animation=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else []))
