"""The searcher of the canary test finds what is wrapped, or finding nothing would mean nothing."""

from __future__ import annotations

import base64
import gzip
import html
import io
import json
import struct
import urllib.parse
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from leak_search import leaks

WORD = "ZQKANARY042V"


def zipped(name: str, data: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, data)
    return buffer.getvalue()


def png(text: bytes) -> bytes:
    body = b"Comment\0\0" + zlib.compress(text)
    chunk = struct.pack(">I", len(body)) + b"zTXt" + body + struct.pack(">I", zlib.crc32(b"zTXt" + body))
    return b"\x89PNG\r\n\x1a\n" + chunk


def parquet(text: str) -> bytes:
    import pandas as pd

    buffer = io.BytesIO()
    pd.DataFrame({"a": [text] * 40, "b": range(40)}).to_parquet(buffer, compression="zstd")
    return buffer.getvalue()


WRAPPED: dict[str, Callable[[str], bytes]] = {
    "plain": lambda w: f"name: {w}, more".encode(),
    "other case": lambda w: w.lower().encode(),
    "utf-16": lambda w: w.encode("utf-16"),
    "utf-16 without mark": lambda w: b"\0\1" + w.encode("utf-16-le"),
    "gzip": lambda w: gzip.compress(w.encode()),
    "gzip in zip": lambda w: zipped("a.gz", gzip.compress(w.encode())),
    "zip in zip": lambda w: zipped("a.zip", zipped("b.txt", w.encode())),
    "name in zip": lambda w: zipped(f"{w}.txt", b"nothing"),
    "zlib": lambda w: zlib.compress(w.encode()),
    "base64": lambda w: b"<img src='data:;base64," + base64.b64encode(b"a" + w.encode() + b"bc") + b"'>",
    "base64 without padding": lambda w: base64.urlsafe_b64encode(w.encode() + b"??>>").rstrip(b"="),
    "gzip in base64 in JSON": lambda w: json.dumps(
        {"scene": base64.b64encode(gzip.compress(w.encode())).decode()}
    ).encode(),
    "JSON escapes": lambda w: ("{" + '"a": "' + "".join(f"\\u{ord(c):04x}" for c in w) + '"}').encode(),
    "JSON lines": lambda w: ('{"a": 1}\n{"b": "' + "".join(f"\\u{ord(c):04x}" for c in w) + '"}\n').encode(),
    "HTML entities": lambda w: ("<p>" + "".join(f"&#{ord(c)};" for c in w) + "</p>").encode(),
    "percent signs": lambda w: "".join(f"%{ord(c):02X}" for c in w).encode(),
    "parquet": parquet,
    "PNG text": lambda w: png(w.encode()),
    "binary": lambda w: bytes(range(256)) + w.encode() + bytes(300),
}


@pytest.mark.parametrize("wrapping", WRAPPED)
def test_found_in_every_wrapping(wrapping: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(WRAPPED[wrapping](WORD))
    (tmp_path / "innocent").write_bytes(WRAPPED[wrapping]("ZQKANARY043V"))
    found = leaks(tmp_path, [WORD])
    assert found and all(where.startswith("file") for where in found), found


def test_found_in_names(tmp_path: Path) -> None:
    plain, coded = tmp_path / "plain" / f"a {WORD}.txt", tmp_path / "coded"
    plain.parent.mkdir()
    plain.write_text("nothing")
    name = base64.b64encode(f"results/a/{WORD}/volume.nii.gz".encode()).decode()
    coded.mkdir()
    (coded / name).write_text("nothing")
    # A long name of Snakemake's record is cut into folders that begin with @.
    parts = [name[n : n + 12] for n in range(0, len(name), 12)]
    cut = tmp_path / "cut" / Path(*(f"@{part}" for part in parts[:-1]))
    cut.mkdir(parents=True)
    (cut / parts[-1]).write_text("nothing")
    (tmp_path / "link").symlink_to(f"/somewhere/{WORD}")
    found = " ".join(leaks(tmp_path, [WORD]))
    for place in ("plain/", "coded/", "cut/", "link (link)"):
        assert place in found, place


def test_letters_outside_ascii(tmp_path: Path) -> None:
    for name, coding in (("a", "utf-8"), ("b", "latin-1"), ("c", "utf-16-le")):
        (tmp_path / name).write_bytes(b"\0" + "Müller-Ähnlich".encode(coding))
    (tmp_path / "d").write_text(html.escape("x") + urllib.parse.quote("Müller-Ähnlich"))
    assert [where.split(":")[0] for where in leaks(tmp_path, ["Müller-Ähnlich"])] == [
        "a",
        "b",
        "c",
        "d > percent",
    ]


def test_nothing_found_where_nothing_is(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps({"sha256": "ab" * 32, "value": 1.5}))
    (tmp_path / "b.gz").write_bytes(gzip.compress(b"nothing here"))
    (tmp_path / "c.zip").write_bytes(b"PK\x03\x04 damaged")
    assert leaks(tmp_path, [WORD]) == []
