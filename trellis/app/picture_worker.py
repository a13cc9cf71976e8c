"""Child program that reads the pictures of clients: `python picture_worker.py`, orders in, answers out.

An order is a line of JSON and, where it says so, the picture in pieces (length in four bytes, then so many bytes; a
length of 0 ends it). {"order": "read", "target", "max_pixels", "longest"} writes the picture that follows, reduced, as
PNG to `target`; "base64" says that it comes as such text. {"order": "cut_out", "path", "target", "max_pixels", "way",
"drawn"} does so with what is cut out of the file `path`, and answers a small picture of it. {"order": "lay_over",
"target", "new", "old", "mask"} puts files together. An answer is a line of JSON: "notes" and "thumbnail" (and "mask",
where somebody drew on it), or {"error": sentence, "kind": "input", "object", "memory" or "storage"}.

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
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    from PIL import Image

    from trellis.conditioning.marks import Marks

THUMBNAIL = 192  # pixels
MASK_SIDE = 512  # pixels at most
HALF = 128  # of a mask's alpha
MOST_STROKE_PIXELS = 1 << 20
_DATA_ADDRESS = re.compile(rb"data:[^,]{0,200};base64,")


def read(order: dict[str, Any], content: bytes) -> dict[str, Any]:
    """Write a picture, reduced."""
    from trellis.conditioning.pictures import load_picture

    data = decode_base64(content) if order["base64"] else content
    picture, notes = load_picture(data, max_pixels=order["max_pixels"], longest=order["longest"])
    picture.save(order["target"])
    return {"notes": notes}


def cut_out(order: dict[str, Any], _: bytes) -> dict[str, Any]:
    """Write what is cut out of a picture."""
    from PIL.Image import Resampling

    from trellis.conditioning.pictures import load_picture, prepare_image
    from trellis.errors import InvalidInputError
    from trellis.runtime import ModelFiles

    picture, notes = load_picture(Path(order["path"]), max_pixels=order["max_pixels"])
    drawn = order["drawn"]
    marks = None if drawn is None else read_marks(drawn)
    files = ModelFiles(offline=True)
    try:
        prepared = prepare_image(picture, size=THUMBNAIL, background=order["way"], runtime=files, marks=marks)
    except InvalidInputError as error:
        return {"error": str(error), "kind": "object"}
    cutout = prepared.cutout.convert("RGBA")
    cutout.save(order["target"])
    framed = cutout.crop(prepared.box).resize((THUMBNAIL, THUMBNAIL), Resampling.LANCZOS)
    answer = {"notes": [*notes, *prepared.notes], "thumbnail": data_address(framed)}
    if drawn is not None:
        mask = cutout.getchannel("A")
        mask.thumbnail((MASK_SIDE, MASK_SIDE))
        answer["mask"] = data_address(mask)
    return answer


def lay_over(order: dict[str, Any], _: bytes) -> dict[str, Any]:
    """Write a picture over which another is laid where the alpha of a mask is over a half."""
    from PIL import Image

    new, mask = Image.open(order["new"]).convert("RGBA"), Image.open(order["mask"]).convert("RGBA").getchannel("A")
    old = Image.open(order["old"]).convert("RGBA") if order["old"] else Image.new("RGBA", new.size)
    over = mask.point(lambda alpha: 255 if alpha >= HALF else 0).resize(old.size, Image.Resampling.NEAREST)
    Image.composite(new.resize(old.size, Image.Resampling.LANCZOS), old, over).save(order["target"])
    return {"notes": []}


def read_marks(drawn: dict[str, Any]) -> "Marks":
    """What was drawn, its strokes decoded."""
    import numpy as np

    from trellis.conditioning.marks import ADD, REMOVE, Marks
    from trellis.conditioning.pictures import load_picture

    strokes = None
    if drawn["strokes"]:
        picture, _ = load_picture(decode_base64(drawn["strokes"].encode()), max_pixels=MOST_STROKE_PIXELS)
        red, green, _, alpha = np.moveaxis(np.asarray(picture.convert("RGBA")), -1, 0)
        strokes = np.where(alpha < 128, 0, np.where(green > red, ADD, REMOVE)).astype(np.uint8)
    crop, box = (tuple(shares) if shares else None for shares in (drawn["crop"], drawn["box"]))
    return Marks(crop, box, strokes)


def data_address(picture: "Image.Image") -> str:
    """A picture as an address that pages can show."""
    stream = io.BytesIO()
    picture.save(stream, format="png")
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode("ascii")


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
        return {"read": read, "cut_out": cut_out, "lay_over": lay_over}[order["order"]](order, content)
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
