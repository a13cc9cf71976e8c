"""Child program that reads the pictures of clients: `python picture_worker.py`, orders in, answers out.

An order is a line of JSON and, where it says so, the picture in pieces (length in four bytes, then so many bytes; a
length of 0 ends it). {"order": "read", "target", "max_pixels"} writes the picture that follows, reduced, as PNG to
`target`; "base64" says that it comes as such text. {"order": "cut_out", "path", "target", "max_pixels", "way"} does so
with what is cut out of the file `path`, and answers a small picture of it. An answer is a line of JSON: "notes" and
"thumbnail", or {"error": sentence, "kind": "input", "memory" or "storage"}.

It is run as a file, not imported: it must start fast, and whoever started it ends it when it takes too long or too much
memory (`trellis.app.picture_reader`).
"""

import base64
import binascii
import io
import json
import os
import re
import signal
import string
import struct
import sys
from pathlib import Path
from typing import Any, BinaryIO

THUMBNAIL = 192  # pixels
_DATA_ADDRESS = re.compile(rb"data:[^,]{0,200};base64,")


def read(order: dict[str, Any], content: bytes) -> dict[str, Any]:
    """Write a picture, reduced."""
    from trellis.conditioning.pictures import load_picture

    data = decode_base64(content) if order["base64"] else content
    picture, notes = load_picture(data, max_pixels=order["max_pixels"])
    picture.save(order["target"])
    return {"notes": notes}


def cut_out(order: dict[str, Any], _: bytes) -> dict[str, Any]:
    """Write what is cut out of a picture."""
    from PIL import Image

    from trellis.conditioning.pictures import load_picture, prepare_image
    from trellis.runtime import ModelFiles

    picture, notes = load_picture(Path(order["path"]), max_pixels=order["max_pixels"])
    prepared = prepare_image(picture, size=THUMBNAIL, background=order["way"], runtime=ModelFiles(offline=True))
    cutout = prepared.cutout.convert("RGBA")
    cutout.save(order["target"])
    framed = cutout.crop(prepared.box).resize((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    framed.save(stream, format="png")
    address = "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode("ascii")
    return {"notes": [*notes, *prepared.notes], "thumbnail": address}


def decode_base64(text: bytes) -> bytes:
    """The bytes of a base64 text, with or without a data address before it, line breaks and padding."""
    from trellis.errors import InvalidInputError

    prefix = _DATA_ADDRESS.match(text)
    plain = text[prefix.end() :] if prefix else text
    plain = plain.translate(None, string.whitespace.encode()).rstrip(b"=")
    if len(plain) % 4 == 1:
        raise InvalidInputError("The picture is not base64: its length cannot be right.")
    try:
        return base64.b64decode(plain + b"=" * (-len(plain) % 4), validate=True)
    except binascii.Error as error:
        raise InvalidInputError(f"The picture is not base64: {error}.") from error


def carry_out(order: dict[str, Any], content: bytes) -> dict[str, Any]:
    """The answer to an order; anything unexpected ends the program, and whoever started it starts another."""
    from trellis.errors import TrellisError

    try:
        return {"read": read, "cut_out": cut_out}[order["order"]](order, content)
    except TrellisError as error:
        return {"error": str(error), "kind": "input"}
    except MemoryError:
        return {"error": "memory", "kind": "memory"}
    except OSError as error:  # damaged pictures are the reader's own: this is the place for the result
        return {"error": error.strerror or type(error).__name__, "kind": "storage", "errno": error.errno}


def receive(orders: BinaryIO) -> bytes:
    """The picture after an order."""
    pieces: list[bytes] = []
    while True:
        (length,) = struct.unpack(">I", orders.read(4))
        if length == 0:
            return b"".join(pieces)
        pieces.append(orders.read(length))


def main() -> None:
    """Answer orders until the other side is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C in a terminal is for the parent
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # it is not started as a part of its package
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no answer
    orders = sys.stdin.buffer
    for line in iter(orders.readline, b""):
        order = json.loads(line)
        answer = carry_out(order, receive(orders) if order["order"] == "read" else b"")
        answers.write(json.dumps(answer).encode() + b"\n")
        answers.flush()


if __name__ == "__main__":
    main()
