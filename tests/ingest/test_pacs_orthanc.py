"""Studies from a real Orthanc, by DIMSE and DICOMweb: found, fetched whole or not at all, objects sent back."""

from __future__ import annotations

import contextlib
import datetime
import io
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from one_series import ingest_folder
from orthanc_server import AE, PASSWORD, USER, Orthanc, orthanc_or_skip, running, wire
from synthetic_series import UID, make_slices, save

from implantflow.config.site import SiteConfig
from implantflow.dicom import pacs
from implantflow.dicom.identity import read_series, reidentify
from implantflow.dicom.uids import remap_uid
from implantflow.errors import ConfigError, ImplantflowError, InputError, ProvenanceError

pytestmark = pytest.mark.slow

STUDY = f"{UID}.9"
KINDS = ("dimse", "dicomweb")


@pytest.fixture(scope="module")
def archive_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    orthanc_or_skip()
    with running(tmp_path_factory.mktemp("orthanc")) as server:
        yield server


@pytest.fixture(scope="module")
def stored(archive_server: Orthanc, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CT of 30 slices and an MR of one study; a report beside them; another patient's CT."""
    root = tmp_path_factory.mktemp("scans")
    save(make_slices(series=1), root / "study" / "ct")
    save(make_slices(modality="MR", series=2, intercept=0.0, signed=True), root / "study" / "mr")
    other = make_slices(series=5, patient="SECRET-OTHER", count=3)
    for ds in other:
        ds.StudyInstanceUID = f"{UID}.99"
    save(other, root / "other")
    scout = make_slices(series=6, count=1)
    scout[0].Modality = "OT"
    save(scout, root / "study" / "ot")
    archive_server.upload(root)
    return root


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMPLANTFLOW_PACS_HOME_USER", USER)
    monkeypatch.setenv("IMPLANTFLOW_PACS_HOME_PASSWORD", PASSWORD)


def node(kind: str, port: int, **more: Any) -> dict[str, Any]:
    if kind == "dimse":
        found = {
            "kind": kind,
            "host": "127.0.0.1",
            "port": port,
            "called_ae": AE,
            "calling_ae": "IMPLANTFLOW",
        }
    else:
        found = {"kind": kind, "url": f"http://127.0.0.1:{port}/dicom-web"}
    return {**found, "tls": False, "timeout_s": 10, **more}


def site(node_config: dict[str, Any], sealed: Path = Path("sealed")) -> SiteConfig:
    roles = {gate: ["surgeon", "quality"] for gate in ("labels", "review", "design", "release")}
    return SiteConfig.model_validate(
        {
            "data_root": "data",
            "sealed_root": str(sealed),
            "pacs": {"home": node_config},
            "reviewers": [],
            "signatures": dict.fromkeys(("demo", "research", "clinical"), roles),
            "imaging_max_age": {"ct_days": 90, "mr_days": 42},
        }
    )


def port_of(kind: str, server: Orthanc) -> int:
    return server.dicom_port if kind == "dimse" else server.http_port


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def opened(kind: str, port: int) -> pacs.Archive:
    return pacs.open_archive("home", site(node(kind, port)))


def test_find_lists_one_patients_studies(
    kind: str, archive_server: Orthanc, stored: Path, credentials: None
) -> None:
    archive = opened(kind, port_of(kind, archive_server))
    (study,) = archive.find_studies({"PatientID": "SECRET-ID-7731"})
    assert study.uid == STUDY
    assert UID not in repr(study)
    assert archive.find_studies({"PatientID": "NOBODY"}) == []
    images = archive.images(STUDY)
    assert len(images) == 60 and len({image.series_uid for image in images}) == 2


def test_fetched_study_is_the_stored_one(
    kind: str, archive_server: Orthanc, stored: Path, credentials: None, tmp_path: Path
) -> None:
    count = pacs.fetch_study(opened(kind, port_of(kind, archive_server)), STUDY, tmp_path / "got")
    files = sorted((tmp_path / "got").iterdir())
    assert count == len(files) == 60
    assert (tmp_path / "got").stat().st_mode & 0o077 == 0
    assert all(path.name.startswith("2.25.") and UID not in path.name for path in files)
    for series, folder in ((1, "ct"), (2, "mr")):
        ours, manifest = ingest_folder(tmp_path / "got", series_uid=remap_uid(f"{UID}.{series}"))
        direct, expected = ingest_folder(stored / "study" / folder)
        assert np.array_equal(ours.array, direct.array)
        assert np.array_equal(ours.affine_lps, direct.affine_lps)
        assert manifest["sop_instance_uids"] == expected["sop_instance_uids"]


def test_broken_connection_leaves_nothing_complete_and_retry_finishes(
    kind: str,
    archive_server: Orthanc,
    stored: Path,
    credentials: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pacs, "ATTEMPTS", 1)
    whole = pacs.fetch_study(opened(kind, port_of(kind, archive_server)), STUDY, tmp_path / "whole")
    # The listing passes; what carries the images is cut in the middle of one.
    lists = 3 if kind == "dimse" else 0
    cut = [None] * lists + [40_000]
    with wire(port_of(kind, archive_server), *cut) as line:
        with pytest.raises(pacs.ArchiveError, match=r"of 60 images of the study did not come"):
            pacs.fetch_study(opened(kind, line.port), STUDY, tmp_path / "cut")
        arrived = [path for path in (tmp_path / "cut").iterdir() if not path.name.startswith(".")]
        assert 0 < len(arrived) < whole
        for path in arrived:
            assert path.read_bytes() == (tmp_path / "whole" / path.name).read_bytes()
        monkeypatch.setattr(pacs, "ATTEMPTS", 3)
        assert pacs.fetch_study(opened(kind, line.port), STUDY, tmp_path / "cut") == whole
    assert {p.name for p in (tmp_path / "cut").iterdir()} == {p.name for p in (tmp_path / "whole").iterdir()}


def test_break_is_mended_within_one_call(
    kind: str, archive_server: Orthanc, stored: Path, credentials: None, tmp_path: Path
) -> None:
    lists = 3 if kind == "dimse" else 0
    with wire(port_of(kind, archive_server), *[None] * lists, 40_000) as line:
        assert pacs.fetch_study(opened(kind, line.port), STUDY, tmp_path / "got") == 60


@pytest.mark.parametrize("bytes_", [0, 30, 700])
def test_break_while_listing_is_no_empty_study(
    bytes_: int, kind: str, archive_server: Orthanc, stored: Path, credentials: None, tmp_path: Path
) -> None:
    with wire(port_of(kind, archive_server), *[bytes_] * 50) as line, pytest.raises(pacs.ArchiveError):
        pacs.fetch_study(opened(kind, line.port), STUDY, tmp_path / "got")
    assert not (tmp_path / "got").exists()


def test_study_without_images_or_unknown(
    kind: str, archive_server: Orthanc, stored: Path, credentials: None, tmp_path: Path
) -> None:
    with pytest.raises(ImplantflowError):
        pacs.fetch_study(opened(kind, port_of(kind, archive_server)), f"{UID}.12345", tmp_path / "got")
    assert not (tmp_path / "got").exists()


def test_no_server_no_entry_no_trust(
    kind: str, archive_server: Orthanc, stored: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(pacs.ArchiveError, match="connection"):
        opened(kind, 1).find_studies({"PatientID": "X"})
    if kind == "dicomweb":
        monkeypatch.delenv("IMPLANTFLOW_PACS_HOME_USER", raising=False)
        with pytest.raises(ConfigError, match="lets us not in"):
            opened(kind, archive_server.http_port).find_studies({"PatientID": "X"})
        return
    unknown = node(kind, archive_server.dicom_port, calling_ae="STRANGER")
    with pytest.raises(pacs.ArchiveError):
        pacs.open_archive("home", site(unknown)).find_studies({"PatientID": "SECRET-ID-7731"})
    other = node(kind, archive_server.dicom_port, called_ae="NOTYOU")
    with pytest.raises(pacs.ArchiveError, match="rejected"):
        pacs.open_archive("home", site(other)).find_studies({"PatientID": "X"})


def derived(manifest: dict[str, Any]) -> pydicom.Dataset:
    """A de-identified object as a release makes it: built from the manifest alone."""
    ds = make_slices(count=1)[0]
    for keyword in ("PatientBirthDate", "AcquisitionDate"):
        delattr(ds, keyword)
    ds.PatientName, ds.PatientID, ds.PatientSex = "CASE^demo", "demo", ""
    ds.PatientIdentityRemoved, ds.DeidentificationMethod = "YES", "only listed fields kept"
    ds.StudyInstanceUID = remap_uid(STUDY)
    ds.SeriesInstanceUID, ds.SOPInstanceUID = "2.25.777", "2.25.778"
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.FrameOfReferenceUID = manifest["frame_of_reference_uid"]
    reference, series = pydicom.Dataset(), pydicom.Dataset()
    reference.ReferencedSOPClassUID = ds.SOPClassUID
    reference.ReferencedSOPInstanceUID = manifest["sop_instance_uids"][4]
    series.SeriesInstanceUID = manifest["series_uid"]
    series.ReferencedInstanceSequence = [reference]
    ds.ReferencedSeriesSequence = [series]
    return ds


def test_reidentified_object_joins_its_study(
    kind: str, archive_server: Orthanc, stored: Path, credentials: None
) -> None:
    folder = stored / "study" / "ct"
    _, manifest = ingest_folder(folder)
    link = read_series(folder, manifest["series_uid"])
    assert link is not None
    ds = reidentify(derived(manifest), {"ct_planning": link})
    archive = opened(kind, port_of(kind, archive_server))
    archive.send([ds])
    assert archive.holds(STUDY, "2.25.777", "2.25.778")
    (study,) = archive_server.rest(
        "POST", "tools/find", json={"Level": "Study", "Query": {"StudyInstanceUID": STUDY}, "Expand": True}
    )
    assert len(study["Series"]) == 4  # CT, MR, OT, and ours
    (ours,) = archive_server.rest(
        "POST", "tools/find", json={"Level": "Instance", "Query": {"SOPInstanceUID": "2.25.778"}}
    )
    back = pydicom.dcmread(io.BytesIO(archive_server.rest("GET", f"instances/{ours}/file")))
    scan = pydicom.dcmread(folder / "image004.dcm")
    for keyword in ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyInstanceUID"):
        assert back[keyword].value == scan[keyword].value, keyword
    assert back.FrameOfReferenceUID == scan.FrameOfReferenceUID
    named = back.ReferencedSeriesSequence[0]
    assert named.SeriesInstanceUID == scan.SeriesInstanceUID
    by_uid = {remap_uid(str(pydicom.dcmread(p).SOPInstanceUID)): p for p in folder.iterdir()}
    referred = pydicom.dcmread(by_uid[manifest["sop_instance_uids"][4]])
    assert named.ReferencedInstanceSequence[0].ReferencedSOPInstanceUID == referred.SOPInstanceUID
    assert "PatientIdentityRemoved" not in back and "DeidentificationMethod" not in back
    assert back.PixelData == derived(manifest).PixelData
    for instance in archive_server.rest("GET", f"instances/{ours}/series")["Instances"]:
        archive_server.rest("DELETE", f"instances/{instance}")


def test_object_of_another_study_is_not_given_this_patients_name(stored: Path) -> None:
    folder = stored / "study" / "ct"
    _, manifest = ingest_folder(folder)
    link = read_series(folder, manifest["series_uid"])
    assert link is not None
    stray = derived(manifest)
    stray.StudyInstanceUID = "2.25.4"
    with pytest.raises(ProvenanceError, match="another study"):
        reidentify(stray, {"ct_planning": link})


# --- encrypted ----------------------------------------------------------------------------------------------------


def certificates(folder: Path) -> dict[str, Path]:
    """A certificate authority and a server certificate for localhost and 127.0.0.1."""
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    now = datetime.datetime.now(datetime.UTC)
    made: dict[str, Path] = {}
    issuer_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    issuer = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test authority")])
    names = x509.SubjectAlternativeName(
        [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    )
    for kind in ("ca", "cert"):
        key = issuer_key if kind == "ca" else rsa.generate_private_key(public_exponent=65537, key_size=2048)
        subject = (
            issuer if kind == "ca" else x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
        )
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=2))
            .add_extension(x509.BasicConstraints(ca=kind == "ca", path_length=None), critical=True)
            .add_extension(names, critical=False)
        )
        made[kind] = folder / f"{kind}.pem"
        made[kind].write_bytes(
            builder.sign(issuer_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        )
        if kind == "cert":
            made["key"] = folder / "key.pem"
            made["key"].write_bytes(
                key.private_bytes(
                    serialization.Encoding.PEM,
                    serialization.PrivateFormat.TraditionalOpenSSL,
                    serialization.NoEncryption(),
                )
            )
    return made


@pytest.fixture(scope="module")
def encrypted(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Orthanc, dict[str, Path]]]:
    orthanc_or_skip()
    folder = tmp_path_factory.mktemp("tls")
    made = certificates(folder)
    with running(folder / "orthanc", made) as server:
        server.upload(save(make_slices(series=1), folder / "scan"))
        yield server, made


@contextlib.contextmanager
def encrypted_node(kind: str, server: Orthanc, made: dict[str, Path]) -> Iterator[dict[str, Any]]:
    if kind == "dimse":
        yield node(kind, server.dicom_port, tls=True, host="localhost")
        return
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made["cert"], made["key"])
    with wire(server.http_port, tls=context) as line:
        yield node(kind, line.port, tls=True, url=f"https://localhost:{line.port}/dicom-web")


def test_encrypted_connection(
    kind: str,
    encrypted: tuple[Orthanc, dict[str, Path]],
    credentials: None,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    server, made = encrypted
    for name, file in (("CA", "ca"), ("CERT", "cert"), ("KEY", "key")):
        monkeypatch.setenv(f"IMPLANTFLOW_PACS_HOME_{name}", str(made[file]))
    with encrypted_node(kind, server, made) as config:
        assert pacs.fetch_study(pacs.open_archive("home", site(config)), STUDY, tmp_path / "got") == 30
        # Without the authority's certificate the server could be anybody.
        monkeypatch.delenv("IMPLANTFLOW_PACS_HOME_CA")
        with pytest.raises(pacs.ArchiveError):
            pacs.open_archive("home", site(config)).find_studies({"PatientID": "X"})


def test_secrets_do_not_travel_in_the_clear(monkeypatch: pytest.MonkeyPatch, credentials: None) -> None:
    plain = {"kind": "dicomweb", "url": "http://archive.example/dicom-web", "tls": False}
    with pytest.raises(ConfigError, match="not encrypted"):
        pacs.open_archive("home", site(plain))
    for url, tls in (
        ("http://a.example/x", True),
        ("https://a.example/x", False),
        ("https://u:p@a.example", True),
    ):
        with pytest.raises(ValueError, match="url"):
            site({"kind": "dicomweb", "url": url, "tls": tls})
    monkeypatch.delenv("IMPLANTFLOW_PACS_HOME_PASSWORD")
    with pytest.raises(ConfigError, match="belong together") as error:
        pacs.open_archive("home", site(plain))
    assert USER not in str(error.value)
    monkeypatch.setenv("IMPLANTFLOW_PACS_HOME_CA", "/no/such/file")
    with pytest.raises(ConfigError, match="does not exist"):
        pacs.open_archive("home", site(plain))


@pytest.mark.parametrize("query", [{}, {"PatientID": "*"}, {"StudyDate": "20190405"}, {"Ward": "3"}])
def test_search_that_lists_everybody_is_refused(query: dict[str, str]) -> None:
    with pytest.raises(InputError):
        pacs.check_query(query)


def test_names_of_studies(tmp_path: Path) -> None:
    here = site(node("dimse", 1), tmp_path / "sealed")
    path = pacs.remember(here, "spine", "home", STUDY)
    assert pacs.remember(here, "spine", "home", STUDY) == path
    assert pacs.recall(path) == ("home", STUDY)
    assert path.stat().st_mode & 0o077 == 0
    with pytest.raises(ConfigError, match="another study"):
        pacs.remember(here, "spine", "home", f"{STUDY}.1")
    path.chmod(0o644)
    with pytest.raises(InputError, match="others may read"):
        pacs.recall(path)
    with pytest.raises(InputError, match="no study") as error:
        pacs.recall(tmp_path / "sealed/studies/other.json")
    assert "pacs find" in error.value.fix
