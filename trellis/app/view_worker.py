"""Child program that draws a stored asset, for a view that is painted over; see `trellis.app.views`."""

import base64
import json
import sys
from io import BytesIO

from trellis.asset import Asset
from trellis.editing.view import view_picture
from trellis.errors import InvalidInputError


def main(asset: str, yaw: str, pitch: str, size: str) -> None:
    """Write a line of JSON to standard output: {"picture": base64 of a PNG, "view": its frame}, or {"error"}."""
    try:
        picture, view = view_picture(Asset.load(asset), yaw=float(yaw), pitch=float(pitch), size=int(size))
        data = BytesIO()
        picture.save(data, format="PNG")
        told = {"picture": base64.b64encode(data.getvalue()).decode(), "view": view.to_dict()}
    except InvalidInputError as problem:
        told = {"error": str(problem)}
    sys.stdout.write(json.dumps(told) + "\n")
