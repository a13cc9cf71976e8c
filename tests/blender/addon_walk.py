"""Runs inside Blender: installs the add-on from disk, does what a person does in the panel, and tells what came of it.

Arguments: the add-on's file, then JSON of the server, the settings of the panel and the seconds after which to cancel.
"""

import json
import os
import sys
import time

import bpy

ADDON, ORDER = sys.argv[-2], json.loads(sys.argv[-1])

bpy.ops.preferences.addon_install(filepath=ADDON, overwrite=True)
bpy.ops.preferences.addon_enable(module="trellis_addon")
trellis_addon = sys.modules["trellis_addon"]

bpy.context.preferences.addons["trellis_addon"].preferences.server = ORDER["server"]
for name, value in ORDER["settings"].items():
    setattr(bpy.context.window_manager, name, value)
bpy.context.scene.cursor.location = (1, 2, 3)
before = set(bpy.data.objects)
said, began = "", time.monotonic()
try:
    bpy.ops.trellis.generate()
except RuntimeError as error:  # what an operator reports as an error
    said = str(error)
while trellis_addon.look() is not None:
    if ORDER["cancel_after"] is not None and time.monotonic() - began > ORDER["cancel_after"]:
        bpy.ops.trellis.cancel()
        ORDER["cancel_after"] = None
    time.sleep(0.1)
new = [item for item in bpy.data.objects if item not in before]
facts = {
    "said": said or trellis_addon.Running.line,
    "names": sorted(item.name for item in new if item.parent is None),
    "faces": sum(len(item.data.polygons) for item in new if item.type == "MESH"),
    "places": [list(item.location) for item in new if item.parent is None],
}
bpy.ops.preferences.addon_disable(module="trellis_addon")
facts["gone"] = not hasattr(bpy.types.WindowManager, "trellis_picture")
sys.stdout.write(f"FACTS {json.dumps(facts)}\n")
sys.stdout.flush()
os._exit(0)  # Blender as a module may hang when the interpreter ends
