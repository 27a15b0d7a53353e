"""Files from outside that attack who reads them: configs, surfaces, label maps, review records."""

from __future__ import annotations

import gzip
import json
import os
import resource
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from tests.conftest import ROOT

from implantflow.artifacts import read_stl
from implantflow.config.load import load, read_yaml
from implantflow.config.models import CaseConfig
from implantflow.errors import ConfigError, ImplantflowError, InputError
from implantflow.foreign.read import read_foreign
from implantflow.review.statement import open_envelope, parse_envelope

Record = Callable[[str, object], None]

TINY = yaml.safe_load((ROOT / "config/cases/tiny.yaml").read_text())

IDS = {
    "parent_folder": "../../etc",
    "absolute": "/etc/passwd",
    "shell": "a;touch pwned",
    "substitution": "$(touch pwned)",
    "backticks": "`touch pwned`",
    "newline": "a\nb",
    "wildcard_braces": "{case}",
    "option": "--forceall",
    "nul": "a\0b",
    "markup": "<b>a</b>",
}


def case_with(tmp_path: Path, **change: object) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump({**TINY, **change}))
    return path


@pytest.mark.attack("hostile case config")
@pytest.mark.parametrize("value", IDS.values(), ids=IDS)
def test_name_in_a_case_config_leaves_its_folder(tmp_path: Path, value: str) -> None:
    """As name of the case, of a build revision, of a plan revision: refused when the config is read."""
    for change in (
        {"case": value},
        {"build": {**TINY["build"], "revisions": [{**TINY["build"]["revisions"][0], "id": value}]}},
        {"plan": {**TINY["plan"], "revisions": [{**TINY["plan"]["revisions"][0], "id": value}]}},
    ):
        with pytest.raises(ConfigError):
            load(CaseConfig, case_with(tmp_path, **change))


@pytest.mark.attack("hostile case config")
def test_auto_review_in_a_clinical_case(tmp_path: Path) -> None:
    """Refused when the config is read: a clinical case needs signatures."""
    with pytest.raises(ConfigError, match="a clinical case needs signatures"):
        load(CaseConfig, case_with(tmp_path, purpose="clinical", review={"policy": "auto"}))


def test_made_images_in_a_clinical_case(tmp_path: Path) -> None:
    """Images that are no person's never make a clinical case; nor do the pipeline's own scans carry the words."""
    entry = {"modality": "CT", "dicom": "scans"}
    ingest = {
        "planning_ct": "ct_planning",
        "series": {"ct_planning": entry},
        "made_images": "CT made from a model",
    }
    with pytest.raises(ConfigError, match="a clinical case cannot be simulated"):
        load(CaseConfig, case_with(tmp_path, purpose="clinical", simulated=None, ingest=ingest))
    ingest = {**TINY["ingest"], "made_images": "CT made from a model"}
    with pytest.raises(ConfigError, match="made_images is for images that come as files"):
        load(CaseConfig, case_with(tmp_path, ingest=ingest))


YAML_BOMBS = {
    "billion_laughs": "a: &a [x,x]\nb: &b [*a,*a]\nc: &c [*b,*b]\n",
    "merge_key": "a: &a {k: 1}\nb: {<<: *a}\n",
    "deep_nesting": "[" * 50_000,
    "python_object": "a: !!python/object/apply:os.system ['touch pwned']\n",
    "key_twice": "purpose: clinical\npurpose: demo\n",
    "two_megabytes": "a: '" + "x" * 2_000_000 + "'\n",
    "no_text": "\x80\x81\xff",
}


@pytest.mark.attack("hostile case config")
@pytest.mark.parametrize("text", YAML_BOMBS.values(), ids=YAML_BOMBS)
def test_yaml_that_attacks_its_reader(tmp_path: Path, text: str, record_property: Record) -> None:
    path = tmp_path / "case.yaml"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ConfigError) as refusal:
        read_yaml(path)
    record_property("answer", refusal.value.what.splitlines()[0][:120])


@pytest.mark.attack("hostile case config")
@pytest.mark.parametrize(
    "name",
    ["../../../etc/passwd", "tiny;touch pwned", "$(touch pwned)", "{w}"],
    ids=["parent_folder", "shell", "substitution", "braces"],
)
def test_name_of_a_case_on_the_command_line(tmp_path: Path, name: str) -> None:
    """`--config cases=NAME` is looked up as a file name only; nothing is executed."""
    (tmp_path / "config").symlink_to(ROOT / "config")
    command = [sys.executable, "-m", "snakemake", "-n", "--snakefile", str(ROOT / "Snakefile")]
    command += ["--directory", str(tmp_path), "--cores", "1", "--config", f"cases={name}"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode != 0
    assert "config file not found" in done.stderr + done.stdout or "is larger" in done.stderr
    assert not (tmp_path / "pwned").exists()


def stl(count: int, triangles: np.ndarray) -> bytes:
    body = b"".join(struct.pack("<12fH", 0, 0, 0, *t.ravel(), 0) for t in triangles)
    return b"hostile".ljust(80, b"\0") + struct.pack("<I", count) + body


ONE = np.arange(9.0).reshape(1, 3, 3)
STLS = {
    "four_billion_triangles_announced": stl(0xFFFFFFFF, ONE),
    "more_than_announced": stl(0, ONE),
    "not_a_number": stl(1, np.full((1, 3, 3), np.nan)),
    "infinite": stl(1, np.full((1, 3, 3), np.inf)),
    "ascii_with_markup": b"solid <script>alert(1)</script>\nendsolid\n",
    "empty": b"",
    "header_only": b"\0" * 83,
}


@pytest.mark.attack("hostile geometry")
@pytest.mark.parametrize("data", STLS.values(), ids=STLS)
def test_stl_that_attacks_its_reader(tmp_path: Path, data: bytes, record_property: Record) -> None:
    path = tmp_path / "x.stl"
    path.write_bytes(data)
    with pytest.raises(InputError) as refusal:
        read_stl(path)
    record_property("answer", refusal.value.what.splitlines()[0][:120])


def nifti(dim: tuple[int, ...], offset: float = 352.0, code: int = 2) -> bytes:
    """Header of a uint8 NIfTI-1 with the identity as its frame; no voxels."""
    head = bytearray(352)
    struct.pack_into("<i", head, 0, 348)
    struct.pack_into("<8h", head, 40, len(dim), *dim, *[1] * (7 - len(dim)))
    struct.pack_into("<2h", head, 70, code, 8)
    struct.pack_into("<8f", head, 76, 1, 1, 1, 1, 1, 1, 1, 1)
    struct.pack_into("<f", head, 108, offset)
    head[123] = 2
    struct.pack_into("<2h", head, 252, 0, 1)
    for row in range(3):
        struct.pack_into("<4f", head, 280 + 16 * row, *np.eye(4)[row])
    head[344:348] = b"n+1\0"
    return bytes(head)


NIFTIS = {
    "seventy_terabytes_announced": nifti((32767, 32767, 32767)),
    "negative_size": nifti((-5, 10, 10)),
    "truncated": nifti((10, 10, 10)) + b"\0" * 100,
    "voxels_before_the_file": nifti((4, 4, 4), offset=-1e9) + b"\0" * 64,
    "unknown_type": nifti((4, 4, 4), code=-7) + b"\0" * 64,
    "header_cut": nifti((4, 4, 4))[:200],
}


@pytest.mark.attack("hostile geometry")
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("data", NIFTIS.values(), ids=NIFTIS)
def test_label_map_that_attacks_its_reader(
    tmp_path: Path, data: bytes, packed: bool, record_property: Record
) -> None:
    """Refused by its header and its length, before any voxel is allocated."""
    path = tmp_path / ("m.nii.gz" if packed else "m.nii")
    path.write_bytes(gzip.compress(data) if packed else data)
    with pytest.raises(ImplantflowError) as refusal:
        read_foreign(path)
    record_property("answer", refusal.value.what.splitlines()[0][:120])


@pytest.mark.attack("hostile geometry")
def test_3mf_given_as_a_label_map(tmp_path: Path) -> None:
    """3MF is only written, never read; handed in, it is refused before it is unpacked."""
    path = tmp_path / "m.3mf"
    path.write_bytes(b"PK\x03\x04" + os.urandom(4000))
    with pytest.raises(InputError, match="is not read"):
        read_foreign(path)


@pytest.mark.attack("hostile geometry")
def test_gzip_that_unpacks_to_gigabytes(tmp_path: Path) -> None:
    """The header announces 64 voxels: only they are unpacked."""
    path = tmp_path / "m.nii.gz"
    with gzip.open(path, "wb", compresslevel=1) as handle:
        handle.write(nifti((4, 4, 4)))
        for _ in range(64):
            handle.write(bytes(1 << 24))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert read_foreign(path).volume.array.shape == (4, 4, 4)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 400_000


ENVELOPES = {
    "payload_no_base64": {"payload": "%%%", "payloadType": "x", "signatures": [{"keyid": "a", "sig": "b"}]},
    "payload_a_number": {"payload": 7, "payloadType": "x", "signatures": []},
    "signatures_a_string": {"payload": "", "payloadType": "x", "signatures": "all"},
    "signature_without_bytes": {"payload": "e30=", "payloadType": "x", "signatures": [{"keyid": "a"}]},
    "ten_thousand_signatures": {
        "payload": "e30=", "payloadType": "x", "signatures": [{"keyid": "a", "sig": "AA=="}] * 3000,
    },
    "extra_field": {"payload": "", "payloadType": "x", "signatures": [], "approved": True},
}  # fmt: skip


@pytest.mark.attack("signatures and approvals")
@pytest.mark.parametrize("envelope", ENVELOPES.values(), ids=ENVELOPES)
def test_dsse_envelope_that_attacks_its_reader(envelope: dict, record_property: Record) -> None:
    with pytest.raises(ImplantflowError) as refusal:
        open_envelope(parse_envelope(json.dumps(envelope).encode()), "00" * 32)
    record_property("answer", refusal.value.what.splitlines()[0][:120])
