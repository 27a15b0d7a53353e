"""Neutral names, the sealed folder, words that may leave a header, and errors that quote nothing."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from one_series import ingest_folder
from synthetic_series import UID, make_slices, save

from implantflow.config.load import load
from implantflow.config.models import CaseConfig
from implantflow.config.site import SiteConfig
from implantflow.config.sources import sources, with_neutral_paths
from implantflow.dicom import vocabulary
from implantflow.dicom.facts import read_facts
from implantflow.dicom.identity import read_link, read_series, write_link
from implantflow.dicom.intake import neutral_name, take_in
from implantflow.dicom.sealed import read_sealed, sealed_folder, write_sealed
from implantflow.dicom.uids import remap_uid
from implantflow.dicom.withheld import withheld
from implantflow.errors import ConfigError, InputError

ROOT = Path(__file__).parents[2]
SECRET = "DOE^JANE 19610203"


def scanned(tmp_path: Path, folder: str, **changes: Any) -> tuple[CaseConfig, SiteConfig]:
    """The tiny case as one read from a folder below ``tmp_path``, and a site to match."""
    data = yaml.safe_load((ROOT / "config/cases/tiny.yaml").read_text())
    for section in ("simulated", "simulated_print", "simulated_followup", "inspect", "release", "followup"):
        data.pop(section)
    data["purpose"] = "research"
    data["ingest"]["series"] = {
        name: {"modality": name[:2].upper(), "dicom": folder}
        for name in ("ct_planning", "mr_diagnosis", "mr_preoperative")
    }
    for key, value in changes.items():
        data[key] = value
    site = load(SiteConfig, ROOT / "config/site.yaml").model_copy(
        update={"data_root": str(tmp_path), "sealed_root": str(tmp_path / "sealed")}
    )
    return CaseConfig.model_validate(data), site


def links(folder: Path) -> dict[str, str]:
    return {path.name: str(path.readlink()) for path in sorted(folder.iterdir())}


def test_every_file_gets_a_number_and_what_it_is_read_by(tmp_path: Path) -> None:
    root = tmp_path / SECRET
    for name in ("b/two\nlines", "b/IM 1", "a/JANE.DCM", "a/jane.PDF", "c/.hidden", "c/..odd"):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    case, site = scanned(tmp_path, SECRET)
    neutral = take_in(case, site)
    folder = Path(str(neutral.ingest.series["ct_planning"].dicom))
    assert folder == tmp_path / "sealed/tiny/series/ct_planning"
    found = links(folder)
    assert list(found) == [
        ".file_000005",
        ".file_000006",
        "file_000001",
        "file_000002.pdf",
        "file_000003",
        "file_000004",
    ]
    assert found["file_000004"] == str(root / "b/two\nlines")
    assert (folder / "file_000004").read_text() == "b/two\nlines"
    for path in (tmp_path / "sealed").rglob("*"):
        if not path.is_symlink():
            assert path.stat().st_mode & 0o077 == 0, path


def test_links_are_made_anew_only_when_something_changed(tmp_path: Path) -> None:
    save(make_slices(count=3), tmp_path / "scan")
    case, site = scanned(tmp_path, "scan")
    folder = Path(str(take_in(case, site).ingest.series["ct_planning"].dicom))
    made = folder.stat().st_mtime_ns
    take_in(case, site)
    assert folder.stat().st_mtime_ns == made
    victim = tmp_path / "scan/image001.dcm"
    victim.write_bytes(victim.read_bytes())
    take_in(case, site)
    changed = folder.stat().st_mtime_ns
    assert changed > made
    victim.unlink()
    take_in(case, site)
    assert len(links(folder)) == 2 and folder.stat().st_mtime_ns > changed
    # Processes that Snakemake starts only compute the names.
    victim.write_text("back")
    assert take_in(case, site, link=False) == take_in(case, site)


def test_folders_that_cannot_be_read_are_named_by_their_key(tmp_path: Path) -> None:
    (tmp_path / "loop").mkdir()
    (tmp_path / "loop/a").symlink_to("b")
    (tmp_path / "loop/b").symlink_to("a")
    (tmp_path / "gone").mkdir()
    (tmp_path / "gone/a").symlink_to(tmp_path / "nowhere")
    (tmp_path / "file").write_text("no folder")
    for folder in ("absent", "loop", "gone", "file"):
        case, site = scanned(tmp_path, folder)
        with pytest.raises(InputError) as error:
            take_in(case, site)
        assert error.value.where == "ingest.series.ct_planning.dicom"
        assert str(tmp_path) not in str(error.value)


def test_loop_of_folders_is_not_followed(tmp_path: Path) -> None:
    save(make_slices(count=3), tmp_path / "scan/inner")
    (tmp_path / "scan/inner/again").symlink_to(tmp_path / "scan")
    case, site = scanned(tmp_path, "scan")
    assert len(links(Path(str(take_in(case, site).ingest.series["ct_planning"].dicom)))) == 3


def test_a_link_to_a_folder_elsewhere_is_refused(tmp_path: Path) -> None:
    save(make_slices(count=3), tmp_path / "scan")
    save(make_slices(count=5)[3:], tmp_path / "rest")
    (tmp_path / "scan/more").symlink_to(tmp_path / "rest")
    case, site = scanned(tmp_path, "scan")
    with pytest.raises(InputError, match="a link leads to a folder elsewhere") as error:
        take_in(case, site)
    assert error.value.where == "ingest.series.ct_planning.dicom" and str(tmp_path) not in str(error.value)


def test_every_other_file_of_a_person_is_linked_too(tmp_path: Path) -> None:
    save(make_slices(count=2), tmp_path / "scan")
    for name in (f"{SECRET}.nii.gz", f"{SECRET}.mrk.json", f"{SECRET} outline.NRRD"):
        (tmp_path / name).write_text(name)
    data = yaml.safe_load((ROOT / "config/cases/tiny.yaml").read_text())
    timepoint = {
        **{k: v for k, v in data["tumour"]["timepoints"][0].items() if k in ("name", "series", "acquired")},
        "method": "mask",
        "file": str(tmp_path / f"{SECRET} outline.NRRD"),
        "label": 1,
    }
    case, site = scanned(
        tmp_path,
        "scan",
        segment={
            "threshold_hu": 226,
            "prior": {
                "kind": "label_map",
                "path": f"{SECRET}.nii.gz",
                "landmarks_file": str(tmp_path / f"{SECRET}.mrk.json"),
            },
        },
        tumour={**data["tumour"], "timepoints": [timepoint, *data["tumour"]["timepoints"][1:]]},
    )
    neutral = take_in(case, site)
    assert SECRET not in neutral.model_dump_json()
    assert neutral.segment.prior.path == str(tmp_path / "sealed/tiny/files/bones.nii.gz")
    for path in (neutral.segment.prior.path, neutral.segment.prior.landmarks_file):
        assert SECRET in Path(str(path)).read_text()
    outline = neutral.tumour.timepoints[0].file  # type: ignore[union-attr]
    assert outline.endswith("/files/outline_diagnosis.nrrd") and "outline" in Path(outline).read_text()


def test_edited_labels_outcomes_and_traveller_are_linked_and_missed(tmp_path: Path) -> None:
    """Real paths stay out of what the rules see, and a path that leads nowhere stops the case whatever is made."""
    data = yaml.safe_load((ROOT / "config/cases/tiny.yaml").read_text())
    named = {
        "segment.edited_labels": ("edited_labels", ".nii.gz"),
        "release.traveller": ("traveller", ".json"),
        "followup.outcomes": ("outcomes", ".csv"),
    }
    for key, (_, suffix) in named.items():
        section, last = key.split(".")
        data[section][last] = str(tmp_path / f"{SECRET}{suffix}")
    case = CaseConfig.model_validate(data)
    site = load(SiteConfig, ROOT / "config/site.yaml").model_copy(
        update={"sealed_root": str(tmp_path / "sealed")}
    )
    for key, (name, suffix) in named.items():
        with pytest.raises(InputError, match="cannot be read") as error:
            take_in(case, site)
        assert error.value.where == key and "correct the path" in error.value.fix
        assert SECRET not in str(error.value)
        (tmp_path / f"{SECRET}{suffix}").mkdir()
        with pytest.raises(InputError, match="IsADirectoryError"):
            take_in(case, site)
        (tmp_path / f"{SECRET}{suffix}").rmdir()
        (tmp_path / f"{SECRET}{suffix}").write_text(name)
    neutral = take_in(case, site)
    assert SECRET not in neutral.model_dump_json()
    for key, (name, suffix) in named.items():
        section, last = key.split(".")
        path = Path(getattr(getattr(neutral, section), last))
        assert path == tmp_path / f"sealed/tiny/files/{name}{suffix}" and path.read_text() == name
    # A job on a cluster only computes the names.
    (tmp_path / f"{SECRET}.csv").unlink()
    assert take_in(case, site, link=False) == neutral


def test_a_missing_atlas_is_refused(tmp_path: Path) -> None:
    save(make_slices(count=1), tmp_path / "scan")
    prior = {"threshold_hu": 226, "prior": {"kind": "atlas", "path": "pelvis-atals"}}
    case, site = scanned(tmp_path, "scan", segment=prior)
    with pytest.raises(InputError, match="does not exist") as error:
        take_in(case, site)
    assert str(tmp_path / "pelvis-atals") in error.value.where and "segment.prior.path" in error.value.where
    (tmp_path / "pelvis-atals/surface/a").mkdir(parents=True)
    with pytest.raises(InputError, match=r"holds no surface/\*/\*\.vtk"):
        take_in(case, site)
    (tmp_path / "pelvis-atals/surface/a/a.vtk").touch()
    assert take_in(case, site).segment.prior.path == "pelvis-atals"


#: Keys whose text is words, a preset or the name of a thing: no path, so not replaced by a neutral one.
WORDS = {
    "source", "reason", "name", "note", "questions", "kernel", "preset", "printer", "made_images",
}  # fmt: skip


def test_no_key_that_names_a_file_is_forgotten() -> None:
    """Every key of the case schema that takes free text is replaced, or is known to name no file."""
    schema = CaseConfig.model_json_schema()
    named = {
        f"{model}.{key}"
        for model, definition in {**schema["$defs"], "CaseConfig": schema}.items()
        for key, field in definition.get("properties", {}).items()
        for kind in [field, *field.get("anyOf", []), field.get("items", {})]
        if kind.get("type") == "string" and not {"enum", "const", "pattern", "format"} & set(kind)
        if key not in WORDS
    }
    assert named == {
        "SeriesConfig.dicom",
        "ImportStl.file",
        "InspectRevision.dicom",
        "InspectRevision.file",
        "MachinedScan.dicom",
        "MachinedScan.file",
        "MaskTimepoint.file",
        "PriorConfig.path",
        "PriorConfig.landmarks_file",
        "SegmentConfig.edited_labels",
        "ReleaseConfig.traveller",
        "FollowupConfig.outcomes",
    }


def test_print_scans_are_sources() -> None:
    data = yaml.safe_load((ROOT / "config/cases/tiny.yaml").read_text())
    data.pop("simulated_print")
    data["inspect"]["revisions"] = [{"id": "r1", "kind": "surface", "file": f"{SECRET}.STL"}]
    neutral = with_neutral_paths(CaseConfig.model_validate(data), Path("sealed"))
    assert neutral.inspect is not None
    assert neutral.inspect.revisions[0].file == "sealed/tiny/files/print_r1.stl"
    data["inspect"]["revisions"] = [{"id": "r1", "kind": "ct", "series": "print_r1", "dicom": SECRET}]
    (source,) = [s for s in sources(CaseConfig.model_validate(data)) if s.key.startswith("inspect")]
    assert source.name == "series/print_r1" and source.below_data_root


def test_the_scan_of_the_machined_part_is_a_source() -> None:
    data = yaml.safe_load((ROOT / "config/cases/tiny.yaml").read_text())
    data.pop("simulated_print")
    faces = dict.fromkeys(("caudal_mm", "si_joint_mm", "l5s1_mm", "bores_mm"), 0.0)
    data["implant"]["machining"] = {"midline_mm": 0.5, **faces}
    limits = {"face_tolerance_mm": 0.1, "bore_tolerance_mm": 0.1}
    machined = {"kind": "surface", "file": f"{SECRET}.STL", **limits}
    data["inspect"]["revisions"] = [{"id": "r1", "kind": "surface", "file": "scan.stl", "machined": machined}]
    neutral = with_neutral_paths(CaseConfig.model_validate(data), Path("sealed"))
    assert neutral.inspect is not None and neutral.inspect.revisions[0].machined is not None
    assert neutral.inspect.revisions[0].machined.file == "sealed/tiny/files/machined_r1.stl"
    machined = {"kind": "ct", "series": "machined_r1", "dicom": SECRET, **limits}
    data["inspect"]["revisions"][0]["machined"] = machined
    source = next(s for s in sources(CaseConfig.model_validate(data)) if s.key.endswith("machined.dicom"))
    assert source.name == "series/machined_r1" and source.folder
    assert source.key == "inspect.revisions.0.machined.dicom"


@pytest.mark.parametrize("name", ["demo", "tiny", "vhf"])
def test_cases_without_sources_stay_as_they_are(name: str) -> None:
    case = load(CaseConfig, ROOT / f"config/cases/{name}.yaml")
    again = with_neutral_paths(case, Path("sealed"))
    assert (again == case) == (not sources(case))
    assert CaseConfig.model_validate(case.model_dump(mode="json")) == case


def test_original_uid_in_the_case_config_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="series_uid"):
        scanned(
            tmp_path,
            "scan",
            ingest={"planning_ct": "ct", "series": {"ct": {"modality": "CT", "series_uid": UID}}},
        )
    assert neutral_name(7, "x/DOE.dcm") == "file_000007"


# --- sealed -------------------------------------------------------------------------------------------------------


def test_sealed_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="inside results"):
        sealed_folder(Path("results/sealed"))
    folder = sealed_folder(Path("data/sealed"), "case", "link")
    write_sealed(folder / "a.json", {"name": SECRET})
    assert read_sealed(folder / "a.json") == {"name": SECRET}
    (folder / "a.json").chmod(0o640)
    with pytest.raises(InputError, match="others may read"):
        read_sealed(folder / "a.json")
    (folder / "a.json").chmod(0o600)
    (folder / "a.json").write_text(f'{{"name": "{SECRET}')
    with pytest.raises(InputError, match="damaged") as error:
        read_sealed(folder / "a.json")
    assert SECRET not in "".join(traceback.format_exception(error.value))
    Path("data/sealed").chmod(0o750)
    with pytest.raises(ConfigError, match="others may open"):
        sealed_folder(Path("data/sealed"))


def test_link_leads_back_and_its_digest_confirms_no_guess(tmp_path: Path) -> None:
    folder = save(make_slices(), tmp_path / "scan")
    _, manifest = ingest_folder(folder)
    link = read_series(folder, manifest["series_uid"])
    assert link is not None
    assert link.identity.patient_id == "SECRET-ID-7731" and "SECRET" not in repr(link)
    for uid in (manifest["series_uid"], manifest["frame_of_reference_uid"], *manifest["sop_instance_uids"]):
        assert remap_uid(link.uids[uid]) == uid
    for name in ("a.json", "b.json"):
        write_link(tmp_path / name, {"ct_planning": link})
    assert read_link(tmp_path / "a.json") == {"ct_planning": link}
    assert (tmp_path / "a.json").read_bytes() != (tmp_path / "b.json").read_bytes()
    assert read_series(folder, "2.25.1") is None


def test_series_of_two_studies_is_refused(tmp_path: Path) -> None:
    slices = make_slices()
    slices[9].StudyInstanceUID = f"{UID}.77"
    folder = save(slices, tmp_path / "scan")
    with pytest.raises(InputError, match="two studies") as error:
        read_series(folder, remap_uid(f"{UID}.1"))
    assert UID not in str(error.value)


# --- words and errors ---------------------------------------------------------------------------------------------


@given(st.text(min_size=1, max_size=40))
def test_no_text_passes_because_of_its_field(text: str) -> None:
    """Whatever stands in a field: what comes out is a listed word, a short code, or a token."""
    for pass_on in (vocabulary.manufacturer, vocabulary.kernel, vocabulary.modality, vocabulary.photometric,
                    vocabulary.rescale_type, vocabulary.number):  # fmt: skip
        out = pass_on(f"Jane {text} Doe")
        assert "Jane" not in out and "Doe" not in out
    assert not {"Jane", "Doe"} & set(vocabulary.model(f"Jane {text} Doe").split())
    assert all("Jane" not in part for part in vocabulary.image_type((f"Jane{text}", "AXIAL")))


@pytest.mark.parametrize(
    ("pass_on", "text", "expected"),
    [
        (vocabulary.manufacturer, "SIEMENS Healthineers", "Siemens"),
        (vocabulary.manufacturer, "GE MEDICAL SYSTEMS", "GE"),
        (vocabulary.model, "SOMATOM Definition AS+", "SOMATOM Definition AS+"),
        (vocabulary.model, "Ingenuity CT", "Ingenuity CT"),
        (vocabulary.kernel, "B40s", "B40s"),
        (vocabulary.kernel, "Br40d\\3", "Br40d\\3"),
        (vocabulary.kernel, "FC18-H", "FC18-H"),
        (vocabulary.kernel, "STANDARD", "STANDARD"),
        (vocabulary.kernel, "soft", "soft"),
        (vocabulary.patient_position, "HFS", "HFS"),
        (vocabulary.patient_position, "DOE", ""),
        (vocabulary.scanning_sequence, "GR\\IR", "GR\\IR"),
        (vocabulary.scanning_sequence, "DOE", ""),
        (vocabulary.number, "2.46", "2.46"),
        (vocabulary.modality, "DOEJANE", "OTHER"),
    ],
)
def test_known_words_stay_readable(pass_on: Any, text: str, expected: str) -> None:
    assert pass_on(text) == expected


def test_unknown_words_still_compare() -> None:
    assert vocabulary.kernel("Hospital Special") == vocabulary.kernel("Hospital Special")
    assert vocabulary.kernel("Hospital Special") != vocabulary.kernel("Hospital Other")
    assert len(vocabulary.token("kernel", SECRET)) == len("kernel-") + 4


def test_numbers_in_the_wrong_field_stay_in_the_header(tmp_path: Path) -> None:
    slices = make_slices(count=1)
    slices[0].KVP, slices[0].EchoTime, slices[0].SliceThickness = "771930468", "19610203", "2.0"
    path = next(save(slices, tmp_path).iterdir())
    facts, missing = read_facts(path, "CT")
    assert "kvp" not in facts and "echo_time_ms" not in facts and facts["slice_thickness_mm"] == 2.0
    assert "KVP" in missing


def test_errors_quote_nothing_they_were_not_meant_to(tmp_path: Path) -> None:
    for raised in (ValueError(SECRET), KeyError(SECRET), InputError("cut short", where="file_000003")):
        with pytest.raises(Exception) as caught, withheld("series ct_planning", tmp_path):
            try:
                raise UnicodeError(SECRET)
            except UnicodeError:
                raise raised from None if isinstance(raised, KeyError) else raised
        told = "".join(traceback.format_exception(caught.value))
        assert SECRET not in told and "series ct_planning" in told
