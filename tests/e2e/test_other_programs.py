"""Results as other programs read them: MeshLab by its own library, 3D Slicer by its rules for frames and units.

Sources: 3D Slicer takes the frame of STL and PLY files from ``SPACE=`` in header or comments and images through ITK;
MeshLab takes coordinates as they are.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pymeshlab
import pytest
import SimpleITK as sitk
from tests.e2e.conftest import Workspace

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

#: Laid out for a printer or a testing machine, in no patient's frame.
NO_PATIENT = ("/print/", "coupon")
#: Bytes of a NIfTI-1 header: units, codes and rows of both affines.
UNITS, QFORM, SFORM = 123, 252, 254


@pytest.fixture(scope="module")
def case(tiny_run: Workspace) -> Path:
    return tiny_run.path / "results" / "tiny"


def meshlab(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Places and colours of the vertices, as MeshLab has them after opening the file."""
    opened = pymeshlab.MeshSet()
    opened.load_new_mesh(str(path))
    opened.current_mesh().compact()
    mesh = opened.current_mesh()
    return mesh.vertex_matrix(), mesh.vertex_color_matrix()


def box(points: np.ndarray) -> np.ndarray:
    return np.array([points.min(axis=0), points.max(axis=0)])


def test_every_surface_of_the_patient_names_its_frame(case: Path) -> None:
    surfaces = sorted(case.rglob("*.stl"))
    assert len(surfaces) >= 12
    for path in surfaces:
        header = path.read_bytes()[:80]
        assert not header.startswith(b"solid"), f"{path}: MeshLab would read it as text"
        laid_out = any(part in path.as_posix() for part in NO_PATIENT)
        assert (b"SPACE=LPS" in header) != laid_out, path
        assert b"mm" in header, path


def test_bones_lie_in_both_programs_where_their_labels_lie(case: Path) -> None:
    labels = sitk.ReadImage(str(case / "segment" / "labels.nii.gz"))
    shapes = sitk.LabelShapeStatisticsImageFilter()
    shapes.Execute(labels)
    centres = {code: np.array(shapes.GetCentroid(code)) for code in shapes.GetLabels()}
    for name in ("sacrum", "hip_left", "hip_right"):
        points, _ = meshlab(case / "segment" / f"{name}.stl")
        centre = points.mean(axis=0)
        distance = min(np.linalg.norm(at - centre) for at in centres.values())
        assert distance < 12.0, f"{name}: centre of its surface far from every label"
        index = [labels.TransformPhysicalPointToIndex(p.tolist()) for p in points[::97]]
        around = [
            labels[
                tuple(
                    int(np.clip(i + d, 0, n - 1)) for i, d, n in zip(at, step, labels.GetSize(), strict=True)
                )
            ]
            for at in index
            for step in ((0, 0, 0), (1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1))
        ]
        touched = np.array(around).reshape(-1, 7)
        assert (touched > 0).any(axis=1).mean() > 0.97, f"{name}: surface away from its voxels"


def test_images_say_millimetres_and_one_frame(case: Path) -> None:
    images = sorted(case.rglob("*.nii.gz"))
    assert len(images) >= 6
    for path in images:
        image = sitk.ReadImage(str(path))
        assert image.GetMetaData("xyzt_units") in ("2", "10"), f"{path}: not millimetres"
        assert (image.GetMetaData("qform_code"), image.GetMetaData("sform_code")) == ("1", "1"), path
        rows = [[float(x) for x in image.GetMetaData(f"srow_{axis}").split()] for axis in "xyz"]
        sform = np.array(rows) * np.array([[-1.0], [-1.0], [1.0]])  # NIfTI is RAS
        direction = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
        assert np.allclose(sform[:, :3], direction, atol=1e-3), f"{path}: qform and sform differ"
        assert np.allclose(sform[:, 3], image.GetOrigin(), atol=1e-2), path


def test_deviation_map_shows_its_colours_on_the_implant(case: Path) -> None:
    implant = box(meshlab(case / "implant" / "implant.stl")[0])
    for path in case.glob("inspect/*/deviation.ply"):
        assert b"comment SPACE=LPS" in path.read_bytes()[:1000]
        points, colours = meshlab(path)
        assert len(np.unique(colours, axis=0)) > 20
        assert np.abs(box(points) - implant).max() < 3.0


def test_follow_up_lies_on_the_planning_ct_under_its_transform(case: Path) -> None:
    planning = sitk.ReadImage(str(case / "ingest" / "ct_planning" / "volume.nii.gz"), sitk.sitkFloat32)
    labels = sitk.GetArrayFromImage(sitk.ReadImage(str(case / "segment" / "labels.nii.gz")))
    for folder in sorted(case.glob("followup/*/")):
        series = {"m0": "ct_m0", "m12": "ct_m12"}[folder.name]
        later = sitk.ReadImage(str(case / "ingest" / series / "volume.nii.gz"), sitk.sitkFloat32)
        transform = sitk.ReadTransform(str(folder / "registration.tfm"))
        under = sitk.GetArrayFromImage(sitk.Resample(later, planning, transform, sitk.sitkLinear, -1000.0))
        without = sitk.GetArrayFromImage(
            sitk.Resample(later, planning, sitk.Transform(), sitk.sitkLinear, -1000.0)
        )
        bone, shown = labels > 0, under > -900.0
        found = [np.mean(image[bone & shown] > 150.0) for image in (under, without)]
        assert found[0] > found[1] + 0.2, (
            f"{folder.name}: bone in place {found[0]:.2f}, untransformed {found[1]:.2f}"
        )


def test_print_files_say_millimetres(case: Path) -> None:
    files = sorted(case.rglob("*.3mf"))
    assert files
    for path in files:
        with zipfile.ZipFile(path) as archive:
            model = archive.read(next(n for n in archive.namelist() if n.endswith(".model")))
        assert b'unit="millimeter"' in model[:2000], path
