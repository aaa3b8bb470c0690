"""The pictures of the examples: each holds the text that it shows, for tests to compare."""

from __future__ import annotations

import re
import struct
import zlib
from html import unescape
from pathlib import Path

from documents import ROOT

IMAGES = ROOT / "docs" / "images"
# Of a picture, in pixels: two sites, each below its address.
SIZE = (720, 220)


def picture(name: str) -> Path:
    return IMAGES / f"example-{name}.png"


def words_of(page: str, name: str = "Ada") -> str:
    """Return what a page of HTML or of text says, with another name and without white space."""
    body = re.sub(r"<(title|script|style)\b.*?</\1>|<[^>]*>", "", page, flags=re.S)
    address = re.sub(r"https?://[\w.]+:\d+", "URL", unescape(body))
    return re.sub(r"\s", "", address.replace(name, "Ada"))


def with_text(png: bytes, text: str) -> bytes:
    """Return the picture with a text in it, before its last chunk."""
    content = b"iTXtDescription\0\0\0\0\0" + text.encode()
    chunk = struct.pack(">I", len(content) - 4) + content + struct.pack(">I", zlib.crc32(content))
    return png[:-12] + chunk + png[-12:]


def text_of(png: bytes) -> str:
    """Return the text in a picture."""
    found = png.index(b"iTXtDescription\0\0\0\0\0")
    (size,) = struct.unpack(">I", png[found - 4 : found])
    return png[found + 4 : found + 4 + size].rpartition(b"\0")[2].decode()
