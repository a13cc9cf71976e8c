"""Blender add-on: send a picture or a text to a running server, and receive the model at the 3D cursor.

Install it from disk (Edit > Preferences > Add-ons); the panel is in the 3D view's sidebar (N), under TRELLIS. Needs
Blender 3.4 or newer; nothing of the program is imported.
"""

import base64
import json
import tempfile
import threading
import urllib.error
import urllib.request
from http.client import HTTPException
from pathlib import Path
from typing import Any

import bpy

bl_info = {
    "name": "TRELLIS desktop",
    "description": "A picture in, a textured model at the 3D cursor",
    "version": (1, 0, 0),
    "blender": (3, 4, 0),
    "location": "3D View > Sidebar > TRELLIS",
    "category": "Import-Export",
}

SERVER = "http://127.0.0.1:7960"
POLL_SECONDS = 0.5
TIMEOUT = 60.0  # seconds without an answer
QUALITIES = ("draft", "standard", "high", "ultra")
FINAL = ("done", "failed", "cancelled")


class Generation:
    """One job of a server, followed in a thread of its own, which touches nothing of Blender.

    `line` and `progress` say how far it is; when `ended`, `model` holds the bytes of the GLB, or `line` says why not.
    """

    def __init__(self, server: str, token: str, body: dict[str, Any]) -> None:
        self.line, self.progress = "Sending", 0.0
        self.ended = False
        self.model: bytes | None = None
        self._server, self._body = server.rstrip("/"), body
        self._headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
        self._cancelled = threading.Event()
        threading.Thread(target=self._follow, name="TRELLIS", daemon=True).start()

    def cancel(self) -> None:
        """Stop the job at its next step."""
        self._cancelled.set()

    def _follow(self) -> None:
        try:
            job = json.loads(self._call("/jobs", self._body))
            told = False
            while job["state"] not in FINAL:
                self.line, self.progress = job["state"].capitalize(), job["progress"]
                if self._cancelled.wait(POLL_SECONDS) and not told:
                    self._call(f"{job['url']}/cancel", {})
                    told = True
                    self._cancelled.clear()
                job = json.loads(self._call(job["url"]))
            self.line = job.get("message") or job["state"].capitalize()
            if job["state"] == "done":
                address = next(file["url"] for file in job["files"] if file["kind"] == "glb")
                self.model, self.progress = self._call(address), 1.0
        except urllib.error.HTTPError as error:
            self.line = _detail(error)
        except (OSError, ValueError, HTTPException) as error:  # a ValueError: an address without http://, no JSON
            reason = getattr(error, "reason", error)
            self.line = f"No server answers at {self._server} ({reason}): start one with run.sh serve."
        except (KeyError, TypeError, StopIteration):
            self.line = f"What answers at {self._server} is no TRELLIS server."
        finally:
            self.ended = True

    def _call(self, path: str, body: dict[str, Any] | None = None) -> bytes:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._server + path, data, self._headers)
        with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
            return bytes(answer.read())


def _detail(error: urllib.error.HTTPError) -> str:
    """The server's own sentence, if it is one."""
    try:
        return str(json.load(error)["detail"])
    except (ValueError, KeyError, TypeError):
        return f"The server answered {error.code} {error.reason}."


class Running:
    """The generation that the panel shows, and the name that its model gets."""

    generation: Generation | None = None
    name = ""
    line = ""


class TrellisPreferences(bpy.types.AddonPreferences):
    """Kept with Blender's preferences, not in files that are passed on."""

    bl_idname = __name__
    server: bpy.props.StringProperty(name="Server", default=SERVER)  # type: ignore[valid-type]
    token: bpy.props.StringProperty(name="Token", subtype="PASSWORD")  # type: ignore[valid-type]

    def draw(self, context: Any) -> None:
        self.layout.prop(self, "server")
        self.layout.prop(self, "token")


class TRELLIS_OT_generate(bpy.types.Operator):  # noqa: N801 - as Blender names operators
    """Send the picture or the text, and put the model at the 3D cursor"""

    bl_idname = "trellis.generate"
    bl_label = "Generate"

    @classmethod
    def poll(cls, context: Any) -> bool:
        return Running.generation is None

    def execute(self, context: Any) -> set[str]:
        settings, preferences = context.window_manager, context.preferences.addons[__name__].preferences
        prompt = settings.trellis_prompt.strip()
        if bool(settings.trellis_picture) == bool(prompt):
            self.report({"ERROR"}, "Choose a picture or write a text, one of the two.")
            return {"CANCELLED"}
        body: dict[str, Any] = {"formats": ["glb"], "quality": settings.trellis_quality, "pivot": "base"}
        if prompt:
            body["prompt"], Running.name = prompt, prompt[:40]
        else:
            path = Path(bpy.path.abspath(settings.trellis_picture))
            try:
                body["pictures"], Running.name = [base64.b64encode(path.read_bytes()).decode()], path.stem
            except OSError as error:
                self.report({"ERROR"}, f"{path} cannot be read: {error.strerror}.")
                return {"CANCELLED"}
        Running.generation = Generation(preferences.server, preferences.token, body)
        bpy.app.timers.register(look, first_interval=POLL_SECONDS)
        return {"FINISHED"}


class TRELLIS_OT_cancel(bpy.types.Operator):  # noqa: N801
    """Stop the generation"""

    bl_idname = "trellis.cancel"
    bl_label = "Cancel"

    @classmethod
    def poll(cls, context: Any) -> bool:
        return Running.generation is not None

    def execute(self, context: Any) -> set[str]:
        assert Running.generation is not None
        Running.generation.cancel()
        return {"FINISHED"}


class TRELLIS_PT_panel(bpy.types.Panel):  # noqa: N801
    """What is asked for, and how far it is."""

    bl_label = "TRELLIS"
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "TRELLIS"

    def draw(self, context: Any) -> None:
        layout, settings = self.layout, context.window_manager
        preferences = context.preferences.addons[__name__].preferences
        for owner, name in (
            (preferences, "server"),
            (preferences, "token"),
            (settings, "trellis_picture"),
            (settings, "trellis_prompt"),
            (settings, "trellis_quality"),
        ):
            layout.prop(owner, name)
        layout.operator(TRELLIS_OT_generate.bl_idname)
        if Running.generation is not None:
            text = f"{Running.generation.line} {Running.generation.progress:.0%}"
            if hasattr(layout, "progress"):  # Blender 4.0 and newer
                layout.progress(factor=Running.generation.progress, text=text)
            else:
                layout.label(text=text)
            layout.operator(TRELLIS_OT_cancel.bl_idname)
        elif Running.line:
            layout.label(text=Running.line)


def look() -> float | None:
    """Bring in the model once it is there; the seconds until the next look, None when there is nothing to wait for."""
    generation = Running.generation
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            area.tag_redraw()
    if generation is None or not generation.ended:
        return None if generation is None else POLL_SECONDS
    Running.generation, Running.line = None, generation.line
    if generation.model is not None:
        bring_in(generation.model, Running.name)
    return None


def bring_in(model: bytes, name: str) -> None:
    """Import a GLB with its base at the 3D cursor, selected, under the name of its picture."""
    before = set(bpy.data.objects)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "asset.glb"
        path.write_bytes(model)
        windows = bpy.context.window_manager.windows
        with bpy.context.temp_override(**({"window": windows[0]} if windows else {})):
            bpy.ops.import_scene.gltf(filepath=str(path))
    for item in set(bpy.data.objects) - before:
        if item.parent is None:
            item.name = name
            item.location += bpy.context.scene.cursor.location


CLASSES = (TrellisPreferences, TRELLIS_OT_generate, TRELLIS_OT_cancel, TRELLIS_PT_panel)
SETTINGS = ("trellis_picture", "trellis_prompt", "trellis_quality")


def register() -> None:
    """Called by Blender when the add-on is switched on."""
    for each in CLASSES:
        bpy.utils.register_class(each)
    kind = bpy.types.WindowManager  # of this session: a file that is passed on names no paths
    kind.trellis_picture = bpy.props.StringProperty(name="Picture", subtype="FILE_PATH")
    kind.trellis_prompt = bpy.props.StringProperty(name="Text", description="In place of a picture, for a text model")
    items = [(name, name.capitalize(), "") for name in QUALITIES]
    kind.trellis_quality = bpy.props.EnumProperty(name="Quality", items=items, default="standard")


def unregister() -> None:
    """Called by Blender when the add-on is switched off."""
    if Running.generation is not None:
        Running.generation.cancel()
        Running.generation = None
    for name in SETTINGS:
        delattr(bpy.types.WindowManager, name)
    for each in reversed(CLASSES):
        bpy.utils.unregister_class(each)
