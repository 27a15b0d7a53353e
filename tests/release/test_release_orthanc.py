"""Every object of a release, stored in a real Orthanc and read back: the same figures, voxels, matrices, bytes."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pydicom
import pytest
from imaging_files import BONES, CT_FROM_MR, labels
from objects_read import read_registration, read_segmentation
from release_room import Room, make_room
from tests.ingest.orthanc_server import AE, PASSWORD, USER, Orthanc, orthanc_or_skip, running

from implantflow.artifacts import sha256_file
from implantflow.config.pacs import DimseNode
from implantflow.dicom.export.stl import read_stl_object
from implantflow.dicom.pacs_dimse import DimseArchive

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    orthanc_or_skip()
    with running(tmp_path_factory.mktemp("orthanc")) as found:
        yield found


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Room:
    room = make_room(tmp_path_factory.mktemp("release") / "demo")
    room.release()
    return room


def objects(room: Room) -> list[Path]:
    return sorted((room.case / "release").rglob("*.dcm"))


def fetched(server: Orthanc, sop_uid: str) -> bytes:
    """An instance as the archive gives it back."""
    (found,) = server.rest(
        "POST", "tools/find", json={"Level": "Instance", "Query": {"SOPInstanceUID": sop_uid}}
    )
    return bytes(server.rest("GET", f"instances/{found}/file"))


def test_uploaded_files_come_back_to_the_byte(server: Orthanc, released: Room) -> None:
    server.clear()
    server.upload(released.case / "release/dicom")
    for path in (released.case / "release/dicom").iterdir():
        assert fetched(server, str(pydicom.dcmread(path).SOPInstanceUID)) == path.read_bytes(), path.name
    (study,) = server.rest("GET", "studies")
    assert server.rest("GET", f"studies/{study}")["MainDicomTags"]["StudyInstanceUID"] == "2.25.10"


def test_objects_sent_by_dimse_hold_the_same(server: Orthanc, released: Room, tmp_path: Path) -> None:
    """The archive writes a meta group of its own; every element of the data set is as it was."""
    server.clear()
    node = DimseNode.model_validate({
        "kind": "dimse", "host": "127.0.0.1", "port": server.dicom_port, "called_ae": AE,
        "calling_ae": "IMPLANTFLOW", "tls": False, "timeout_s": 20,
    })  # fmt: skip
    archive = DimseArchive(node, {"USER": USER, "PASSWORD": PASSWORD})
    paths = objects(released)
    assert len(paths) == 10
    archive.send([pydicom.dcmread(path) for path in paths])
    for path in paths:
        want = pydicom.dcmread(path)
        back = fetched(server, str(want.SOPInstanceUID))
        (tmp_path / path.name).write_bytes(back)
        assert pydicom.dcmread(io.BytesIO(back)) == want, path.name
    found = read_segmentation(tmp_path / "bone_labels.dcm")
    truth = labels().array
    for name, code in BONES.items():
        assert int(found[name].array.sum()) == int((truth == code).sum())
    matrices = read_registration(tmp_path / "registration.dcm")
    assert np.allclose(matrices["2.25.22"], CT_FROM_MR, atol=1e-9)
    (tmp_path / "implant.stl").write_bytes(read_stl_object(tmp_path / "implant.dcm"))
    assert sha256_file(tmp_path / "implant.stl") == sha256_file(released.case / "implant/implant.stl")
