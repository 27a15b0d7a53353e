"""The command line as a user meets it: what is refused, with which exit code, in which words."""

from __future__ import annotations

import errno
import sys
from pathlib import Path

import numpy as np
import pytest

from implantflow.artifacts import write_json, write_stl
from implantflow.cli import main

sys.path.append(str(Path(__file__).parents[1] / "ingest"))

from synthetic_series import make_slices, save

#: Corners and triangles of a cube of 4 mm.
CORNERS = 4.0 * np.array([[(n >> k) & 1 for k in range(3)] for n in range(8)])
TRIANGLES = np.array([
    [0, 2, 1], [1, 2, 3], [4, 5, 6], [5, 7, 6], [0, 1, 4], [1, 5, 4],
    [2, 6, 3], [3, 6, 7], [0, 4, 2], [2, 4, 6], [1, 3, 5], [3, 7, 5],
])  # fmt: skip


def refused(capsys: pytest.CaptureFixture[str], code: int, *arguments: object) -> str:
    """Run a command that must be refused with this exit code; its message, which has where and fix."""
    assert main([str(a) for a in arguments]) == code
    told = capsys.readouterr()
    assert told.err.count("implantflow: ERROR: ") == 1
    assert "  where: " in told.err and "  fix:   " in told.err
    assert "Traceback" not in told.err and "http" not in told.err
    assert len(told.err.splitlines()) == 3
    return told.err


@pytest.mark.parametrize(
    ("code", "options", "words"),
    [
        (3, "--cell-mm 2.5 --strut-mm 0.5", "need --lattice"),
        (3, "--strut-mm 0.5", "need --lattice"),
        (3, "--lattice diamond --cell-mm 2.5", "needs its cell and its strut"),
        (3, "--lattice diamond --cell-mm -2 --strut-mm .5", "-2 mm is no size"),
        (3, "--lattice diamond --cell-mm 0 --strut-mm .5", "0 mm is no size"),
        (3, "--lattice diamond --cell-mm 2 --strut-mm nan", "nan mm is no size"),
        (3, "--lattice diamond --cell-mm 1e9 --strut-mm .5", "larger than 20 mm"),
        (3, "--layer-mm 0", "0 mm is no size"),
        (3, "--layer-mm -1", "-1 mm is no size"),
        (2, "--layer-mm 0.05003", "whole number of units"),
    ],
)
def test_slice_refuses_sizes_that_mean_nothing(
    code: int, options: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    solid, out = tmp_path / "cube.stl", tmp_path / "out"
    write_stl(solid, CORNERS, TRIANGLES, "cube")
    assert words in refused(capsys, code, "slice", solid, out, *options.split())
    assert not out.exists() or not list(out.iterdir())


def test_an_interrupted_command_says_so_and_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("implantflow.build.command.examine_file", stop)
    solid, out = tmp_path / "cube.stl", tmp_path / "out"
    write_stl(solid, CORNERS * 3.0, TRIANGLES, "cube")
    assert main(["slice", str(solid), str(out)]) == 130
    assert capsys.readouterr().err == "implantflow: interrupted\n"
    assert list(out.iterdir()) == []


def test_places_that_cannot_be_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    series = save(make_slices(count=4), tmp_path / "dicom")
    taken = tmp_path / "taken"
    taken.write_text("a file")
    assert str(taken) in refused(capsys, 3, "ingest", series, taken)
    assert str(taken) in refused(capsys, 3, "ingest", series, taken / "below")
    assert taken.read_text() == "a file"
    key = ["--id", "a", "--name", "A", "--role", "surgeon", "--no-passphrase"]
    assert "/proc/xx" in refused(capsys, 3, "review", "keygen", "/proc/xx/k.key", *key)
    (tmp_path / "case").mkdir()
    assert str(tmp_path) in refused(capsys, 2, "verify", "--site", tmp_path, tmp_path / "case")
    monkeypatch.setattr("implantflow.volumes.write_volume", full)
    assert "no room left" in refused(capsys, 10, "ingest", series, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_ingest_tells_its_doubts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ingest", str(save(make_slices(), tmp_path / "whole")), str(tmp_path / "a")]) == 0
    assert capsys.readouterr().err == ""
    assert main(["ingest", str(save(make_slices()[::2], tmp_path / "half")), str(tmp_path / "b")]) == 0
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 2 and all(line.startswith("implantflow: DOUBT: ") for line in told)


def full(path: Path, _volume: object) -> None:
    """Stands in for a writer on a full disk."""
    path.write_bytes(b"half")
    raise OSError(errno.ENOSPC, "No space left on device", str(path))


@pytest.mark.parametrize(
    ("command", "listed"),
    [
        ("review --help", ["CASE ITEM", "--decision", "--corrections", "keygen"]),
        ("review keygen -h", ["keyfile", "--role", "--no-passphrase"]),
        ("pacs -h", ["find", "fetch", "send", "--site"]),
        ("pacs send --help", ["--followup", "--not-clinical"]),
    ],
)
def test_help_lists_what_there_is(
    command: str, listed: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(command.split())
    told = capsys.readouterr().out
    assert ended.value.code == 0
    assert [word for word in listed if word.lower() not in told.lower()] == []


def test_dicom_folders_that_are_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(__file__).parents[2])
    nothing, file, empty = tmp_path / "a/nothing", tmp_path / "file.dcm", tmp_path / "empty"
    file.write_bytes(b"x")
    empty.mkdir()
    out = tmp_path / "out"
    for command in (["new-case", "--out", out, "case_1"], ["ingest"]):
        end = [out] if command == ["ingest"] else []
        told = refused(capsys, 3, *command, nothing, *end)
        assert "no such folder" in told and str(nothing) in told and "ingest.series" not in told
        told = refused(capsys, 3, *command, file, *end)
        assert "a file, not a folder" in told and str(file) in told
    assert str(empty) in refused(capsys, 3, "new-case", "case_1", empty, "--out", out)
    assert not out.exists()


def test_a_folder_of_damaged_files_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(__file__).parents[2])
    folder = save(make_slices(count=4), tmp_path / "dicom")
    for path in folder.iterdir():
        path.write_bytes(path.read_bytes()[:300])
    told = refused(capsys, 3, "new-case", "case_1", folder, "--out", tmp_path / "case_1.yaml")
    assert "4 damaged, the first, image" in told and str(folder) in told
    assert not (tmp_path / "case_1.yaml").exists()


def test_segment_asks_for_one_prior(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    volume, out = tmp_path / "volume.nii.gz", tmp_path / "out"
    volume.write_bytes(b"not read")
    common = ["segment", volume, out, "--threshold", 226]
    assert "--atlas --landmarks --labels is required" in refused(capsys, 3, *common)
    both = ["--atlas", tmp_path, "--labels", volume]
    assert "not allowed with" in refused(capsys, 3, *common, *both)
    told = refused(capsys, 3, *common, "--atlas", "/nope")
    assert "where: /nope" in told and "--atlas" in told and "segment.prior" not in told
    assert "holds no atlas" in refused(capsys, 3, *common, "--atlas", tmp_path)
    assert str(tmp_path / "l.json") in refused(capsys, 3, *common, "--landmarks", tmp_path / "l.json")
    assert not out.exists()
    with pytest.raises(SystemExit):
        main(["segment", "--help"])
    usage = " ".join(capsys.readouterr().out.split())
    assert "(--atlas ATLAS | --landmarks LANDMARKS | --labels LABELS)" in usage


def test_segment_makes_the_template_where_there_is_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a fresh clone; nothing is left where the pipeline's recorded job would put it."""
    monkeypatch.chdir(tmp_path)
    Path("volume.nii.gz").write_bytes(b"not read")
    write_json(Path("points.json"), {"promontory": [0, 0, 0]})
    monkeypatch.setattr("implantflow.phantom.template.template_arrays", lambda _: {"made": np.arange(3)})
    seen: list[Path] = []

    def segment_file(*_: object, template: Path, **__: object) -> list[Path]:
        assert np.load(template)["made"].tolist() == [0, 1, 2]
        seen.append(template)
        return []

    monkeypatch.setattr("implantflow.segment.command.segment_file", segment_file)
    command = ["segment", "volume.nii.gz", "out", "--threshold", "226", "--landmarks", "points.json"]
    assert main(command) == 0
    assert "making the project's template" in capsys.readouterr().err
    assert not seen[0].exists() and not Path("data").exists()
    command[4] = "50"
    told = refused(capsys, 2, *command)
    assert "threshold 50 HU" in told and "making" not in told and len(seen) == 1
