"""The short way through a header: what it reads is what the parser reads, on good files and on damaged ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.fuzz.bases import KINDS, base
from tests.fuzz.mutate import DAMAGES, Tally

from implantflow.dicom import parse
from implantflow.dicom.quiet import quietly

PLAIN = ("ct_explicit", "ct_implicit_signed", "ct_oblique", "mr_slope")


@pytest.mark.parametrize("kind", KINDS)
def test_same_header_as_the_parser(kind: str, tmp_path: Path) -> None:
    for name, data in base(kind).files.items():
        path = tmp_path / name
        path.write_bytes(data)
        found = parse.plain_header(path)
        assert (found is not None) == (kind in PLAIN)
        if found is not None:
            assert found == parse._parsed(path)


def test_damaged_files_are_read_as_the_parser_reads_them_or_left_to_it(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    path = tmp_path / "damaged.dcm"
    read = 0
    for n in range(1500):
        data = bytearray(next(iter(base(PLAIN[n % len(PLAIN)]).files.values())))
        damage = str(rng.choice(list(DAMAGES)))
        DAMAGES[damage][1](data, rng, Tally())
        path.write_bytes(bytes(data))
        found = parse.plain_header(path)
        if found is not None:
            read += 1
            with quietly():
                assert repr(found) == repr(parse._parsed(path)), damage
    assert read > 300
