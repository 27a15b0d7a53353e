"""Finds strings in a tree of files however they are wrapped: names, base64, gzip, zlib, zip, JSON, HTML, parquet."""

from __future__ import annotations

import base64
import binascii
import gzip
import hashlib
import html
import io
import json
import re
import urllib.parse
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

#: Wrappings inside wrappings are opened this deep.
MAX_DEPTH = 6
#: Shorter runs of base64 letters are words.
_BASE64 = re.compile(rb"[A-Za-z0-9+/_-]{16,}={0,2}")
_ZLIB_HEADS = (b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda")


def leaks(root: Path, needles: Iterable[str]) -> list[str]:
    """``where: needle`` for every needle found below ``root``, in names of files and folders or in contents.

    Letters count without case; text may be UTF-8, UTF-16 or Latin-1.
    """
    spelled = _by_stem(needles)
    found = set()
    for path in sorted(root.rglob("*")):
        shown = path.relative_to(root).as_posix()
        for where, data in [*_name(shown), *_link(path, shown), *_content(path, shown)]:
            low = data.lower()
            found |= {
                f"{where}: {needle}"
                for stem, members in spelled.items()
                if stem in low
                for needle, spelling in members
                if spelling in low
            }
    return sorted(found)


def _by_stem(needles: Iterable[str]) -> dict[bytes, list[tuple[str, bytes]]]:
    """Spellings by their first characters: hundreds of needles share a few, and only these are sought at first.

    Case is folded on both sides byte by byte, so letters outside ASCII must match as they are.
    """
    found: dict[bytes, list[tuple[str, bytes]]] = {}
    for needle in needles:
        for coding in ("utf-8", "utf-16-le", "utf-16-be", "latin-1"):
            spelling = needle.encode(coding, "ignore").lower()
            stem = needle[:8].encode(coding, "ignore").lower()
            found.setdefault(stem, []).append((needle, spelling))
    return found


def _name(shown: str) -> Iterator[tuple[str, bytes]]:
    yield f"{shown} (name)", shown.encode("utf-8", "surrogateescape")
    # Snakemake cuts long base64 names into folders: the parts are tried alone and joined.
    parts = [part.lstrip("@") for part in shown.split("/")]
    for tried in {*parts, "".join(parts), *("".join(parts[n:]) for n in range(len(parts)))}:
        for data in _from_base64(tried.encode("utf-8", "surrogateescape")):
            yield f"{shown} (name, base64)", data


def _link(path: Path, shown: str) -> Iterator[tuple[str, bytes]]:
    if path.is_symlink():
        yield f"{shown} (link)", str(path.readlink()).encode("utf-8", "surrogateescape")


def _content(path: Path, shown: str) -> Iterator[tuple[str, bytes]]:
    if path.is_file() and not path.is_symlink():
        yield from opened(shown, path.read_bytes())


def opened(
    where: str, data: bytes, depth: int = 0, seen: set[bytes] | None = None
) -> Iterator[tuple[str, bytes]]:
    """``data`` itself and everything that can be unwrapped from it, each content once."""
    seen = set() if seen is None else seen
    digest = hashlib.sha256(data).digest()
    if digest in seen:
        return
    seen.add(digest)
    yield where, data
    if depth >= MAX_DEPTH or not data:
        return
    for kind, inner in _unwrapped(data):
        yield from opened(f"{where} > {kind}", inner, depth + 1, seen)


def _unwrapped(data: bytes) -> Iterator[tuple[str, bytes]]:
    if data[:2] == b"\x1f\x8b":
        try:
            yield "gzip", gzip.decompress(data)
        except (OSError, EOFError, zlib.error):
            return
        return
    if data[:4] == b"PK\x03\x04":
        yield from _zip(data)
        return
    if data[:4] == b"PAR1":
        yield "parquet", _parquet(data)
        return
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        yield from _png(data)
        return
    if data[:2] in _ZLIB_HEADS:
        inflated = _inflate(data)
        if inflated:
            yield "zlib", inflated
        return
    yield from _text(data)


def _zip(data: bytes) -> Iterator[tuple[str, bytes]]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            yield "zip comment", archive.comment
            for info in archive.infolist():
                yield "zip name", info.filename.encode() + b" " + info.comment
                yield f"zip {info.filename}", archive.read(info)
    except (zipfile.BadZipFile, RuntimeError, zlib.error):
        return


def _parquet(data: bytes) -> bytes:
    import pyarrow.parquet

    table = pyarrow.parquet.read_table(io.BytesIO(data))
    metadata = repr(table.schema.metadata)
    texts = [f for f in table.schema if str(f.type) in ("string", "large_string", "binary")]
    return "\n".join(
        [str(table.schema), metadata, *(repr(table[f.name].to_pylist()) for f in texts)]
    ).encode()


def _png(data: bytes) -> Iterator[tuple[str, bytes]]:
    at = 8
    while at + 8 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        kind, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        if kind in (b"zTXt", b"iTXt", b"iCCP"):
            for start in range(len(body)):
                if body[start : start + 2] in _ZLIB_HEADS and (inner := _inflate(body[start:])):
                    yield f"png {kind.decode()}", inner
                    break
        at += 12 + length


def _inflate(data: bytes) -> bytes:
    try:
        return zlib.decompressobj().decompress(data)
    except zlib.error:
        return b""


def _text(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Text inside text: JSON strings, HTML entities, percent signs, base64."""
    head = data[: 1 << 16]
    if b"\x00" in head and data[:2] not in (b"\xff\xfe", b"\xfe\xff"):
        return
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        yield "utf-16", data.decode("utf-16", "replace").encode()
        return
    text = data.decode("utf-8", "replace")
    if "\\" in text:
        yield "unescaped", _unescaped(text).encode("utf-8", "replace")
    if "&" in text and ";" in text and (plain := html.unescape(text)) != text:
        yield "html", plain.encode("utf-8", "replace")
    if "%" in text and (plain := urllib.parse.unquote(text)) != text:
        yield "percent", plain.encode("utf-8", "replace")
    for run in set(_BASE64.findall(data)):
        for inner in _from_base64(run):
            yield "base64", inner


def _unescaped(text: str) -> str:
    try:
        return "\n".join(_strings(json.loads(text)))
    except ValueError:
        pattern = re.compile(r"\\u([0-9a-fA-F]{4})|\\x([0-9a-fA-F]{2})")
        return pattern.sub(lambda m: chr(int(m.group(1) or m.group(2), 16)), text)


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield str(key)
            yield from _strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)


def _from_base64(run: bytes) -> Iterator[bytes]:
    """Plausible decodings, standard and URL-safe, of a run whose padding may be missing."""
    letters = run.rstrip(b"=").translate(bytes.maketrans(b"-_", b"+/"))
    if len(letters) < 12 or len(letters) % 4 == 1 or re.search(rb"[^A-Za-z0-9+/]", letters):
        return
    # Numbers and hex digests decode to noise; base64 of anything real mixes cases.
    if re.fullmatch(rb"[0-9a-f]+|[0-9A-F]+", letters):
        return
    try:
        yield base64.b64decode(letters + b"=" * (-len(letters) % 4))
    except binascii.Error:
        return
