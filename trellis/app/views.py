"""Views of kept assets: a child process draws each, so that they wait for no job."""

import base64
import json
import os
import subprocess
from pathlib import Path
from typing import Any

from trellis.app.mesh_reader import child_command
from trellis.errors import InvalidInputError, TrellisError

TIME_LIMIT = 120.0  # seconds; one takes a few


def asset_view(asset: Path, *, yaw: float, pitch: float, size: int) -> tuple[bytes, dict[str, Any]]:
    """A stored asset from one side as PNG, and the picture's frame; see `trellis.editing.view.view_picture`.

    Raises InvalidInputError for an asset that cannot be drawn, TrellisError where that takes too long.
    """
    command = child_command("view_worker", asset, yaw, pitch, size)
    end, own = os.pipe()  # until this process ends
    try:
        done = subprocess.run(command, stdin=end, stdout=subprocess.PIPE, timeout=TIME_LIMIT)
        told = json.loads(done.stdout)
    except (subprocess.TimeoutExpired, ValueError) as error:
        raise TrellisError("The view could not be drawn: ask for a smaller one.") from error
    finally:
        os.close(end)
        os.close(own)
    if "error" in told:
        raise InvalidInputError(told["error"])
    return base64.b64decode(told["picture"]), told["view"]
