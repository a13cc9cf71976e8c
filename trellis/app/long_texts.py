"""Long texts of base64 in a JSON body stay in its file: what is in memory does not grow with pictures and meshes."""

import json
import secrets
import string
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO

LONG = 1 << 20  # characters; shorter ones may stay, those of half the length do
BLOCK = LONG // 2
PIECE = 1 << 18
LONGEST_ESCAPE = 6  # characters
# What base64 is made of, data addresses and the escapes that some programs write.
SIGNS = (string.ascii_letters + string.digits + "+/=:;,._-\\").encode()
QUOTE, ESCAPE = b'"', b"\\"


@dataclass(frozen=True)
class LongText:
    """A text between two places of a file that is open."""

    file: IO[bytes]
    begin: int
    end: int

    def __repr__(self) -> str:  # in messages about it
        return f"a text of {(self.end - self.begin) / 1e6:.0f} MB"

    def pieces(self) -> Iterator[bytes]:
        """Its bytes, without escapes; one that is wrong stays."""
        self.file.seek(self.begin)
        left, rest = self.end - self.begin, b""
        while left or rest:
            piece = self.file.read(min(PIECE, left))
            left -= len(piece)
            piece = rest + piece
            cut = piece.rfind(b"\\", -LONGEST_ESCAPE + 1) if left else -1
            piece, rest = (piece, b"") if cut < 0 else (piece[:cut], piece[cut:])
            yield _unescaped(piece) if b"\\" in piece else piece


def find_long_texts(body: IO[bytes]) -> list[LongText]:
    """The long texts of a JSON body, in order: such a text takes up a whole block."""
    found, begin, offset, before = list[LongText](), -1, 0, b""
    body.seek(0)
    while block := body.read(BLOCK):
        if block.translate(None, SIGNS):
            if begin >= 0:
                found.append(LongText(body, begin, offset + len(block) - len(block.lstrip(SIGNS))))
            begin, before = -1, block
        elif begin < 0:
            begin = offset - (len(before) - len(before.rstrip(SIGNS)))
        offset += len(block)
    return [text for text in found if _is_whole(text)]


def _is_whole(text: LongText) -> bool:
    """Whether it stands between quotes that are not its own."""
    if text.begin < 2:
        return False
    text.file.seek(text.begin - 2)
    before = text.file.read(2)
    text.file.seek(text.end - 1)
    after = text.file.read(2)
    return before[1:] == after[1:] == QUOTE and ESCAPE not in (before[:1], after[:1])


def taken_out(body: IO[bytes], texts: Sequence[LongText]) -> tuple[bytes, dict[str, LongText]]:
    """A JSON body with names in place of its long texts, and these by their names."""
    kept, named = [], dict[str, LongText]()
    body.seek(0)
    for text in texts:
        name = secrets.token_hex(16)
        named[name] = text
        kept += [body.read(text.begin - body.tell()), name.encode()]
        body.seek(text.end)
    return b"".join([*kept, body.read()]), named


def _unescaped(piece: bytes) -> bytes:
    try:
        return str(json.loads(b'"%b"' % piece)).encode("utf-8", "replace")
    except ValueError:
        return piece
