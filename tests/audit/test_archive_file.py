"""A case in one file: the same bytes, only when it verifies, and whole again or not at all."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest
from made_case import Made

from implantflow.audit import archive
from implantflow.audit.verify import verify_case
from implantflow.cli import main
from implantflow.errors import InputError, ProvenanceError


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {
        p.relative_to(folder).as_posix(): (p.read_bytes(), int(p.stat().st_mtime))
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


def test_there_and_back(finished: Made, tmp_path: Path) -> None:
    (finished.folder / "segment/.tmp-labels.nii.gz").write_bytes(b"left by a killed job")
    first, second = tmp_path / "a.tar.gz", tmp_path / "b.tar.gz"
    done = archive.pack(finished.folder, first)
    archive.pack(finished.folder, second)
    assert first.read_bytes() == second.read_bytes()
    folder, result = archive.unpack(first, tmp_path / "elsewhere")
    assert result["verified"] and verify_case(folder)["verified"]
    before = contents(finished.folder)
    del before["segment/.tmp-labels.nii.gz"]
    assert contents(folder) == before
    assert done["files"] == len(before)


def test_what_does_not_verify_is_not_packed(finished: Made, tmp_path: Path) -> None:
    (finished.folder / "plan/p1/plan.json").write_text("{}")
    with pytest.raises(ProvenanceError, match=r"plan/p1/plan\.json"):
        archive.pack(finished.folder, tmp_path / "a.tar.gz")
    assert not list(tmp_path.glob("*a.tar.gz"))


def test_a_damaged_or_changed_archive_leaves_nothing(finished: Made, tmp_path: Path) -> None:
    packed = tmp_path / "a.tar.gz"
    archive.pack(finished.folder, packed)
    cut = tmp_path / "cut.tar.gz"
    cut.write_bytes(packed.read_bytes()[: packed.stat().st_size // 2])
    with pytest.raises(InputError, match="cannot be unpacked"):
        archive.unpack(cut, tmp_path / "out")
    changed = tmp_path / "changed.tar.gz"
    with tarfile.open(packed) as old, tarfile.open(changed, "w:gz") as new:
        for member in old:
            data = old.extractfile(member).read() if member.isfile() else b""  # type: ignore[union-attr]
            if member.name.endswith("plan.json"):
                data = data.replace(b"a", b"b", 1) or b"x"
                data += b" "
                member.size = len(data)
            new.addfile(member, io.BytesIO(data))
    with pytest.raises(ProvenanceError, match=r"plan\.json"):
        archive.unpack(changed, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("content", [b"no archive", b"", b"\x1f\x8b\x08\x00 not gzip after all", None])
def test_what_is_no_archive_is_said_in_one_sentence(
    content: bytes | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong, out = tmp_path / "wrong.tar.gz", tmp_path / "out"
    if content is not None:
        wrong.write_bytes(content)
    assert main(["unarchive", str(wrong), str(out)]) == 3
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 3 and str(wrong) in told[1] and "fix:" in told[2]
    assert not out.exists()


def test_no_file_leaves_the_folder(tmp_path: Path) -> None:
    bad = tmp_path / "bad.tar.gz"
    with tarfile.open(bad, "w:gz") as made:
        member = tarfile.TarInfo("demo/../../escaped.txt")
        member.size = 1
        made.addfile(member, io.BytesIO(b"x"))
    with pytest.raises(InputError):
        archive.unpack(bad, tmp_path / "in" / "out")
    assert not (tmp_path / "escaped.txt").exists() and not (tmp_path / "in/escaped.txt").exists()


def test_nothing_is_overwritten(finished: Made, tmp_path: Path) -> None:
    packed = tmp_path / "a.tar.gz"
    archive.pack(finished.folder, packed)
    with pytest.raises(InputError, match="there already"):
        archive.pack(finished.folder, packed)
    archive.unpack(packed, tmp_path / "out")
    with pytest.raises(InputError, match="there already"):
        archive.unpack(packed, tmp_path / "out")
