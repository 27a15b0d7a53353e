"""Read every series below a folder with one reader and say where it puts the balls (see ingest_torture.py)."""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2] / "ingest"))

from scipy import ndimage
from sphere_errors import centre_errors, measure
from synthetic_series import BACKGROUND_HU, EDGE_SIGMA_MM, SPHERES

PROGRAMS = Path(sys.executable).parent

#: Stands for "not found": JSON knows no infinity.
LOST = 1e9
#: Level at which dicom2stl cuts: half-way to the ball of 300 HU; the ball below the background is not cut.
ISO_HU = 170


class RefusedError(Exception):
    """The reader would not, or made nothing."""


def implantflow(folder):
    from implantflow.errors import ImplantflowError
    from implantflow.ingest.read import take_series

    try:
        volume = take_series(folder).volume
    except ImplantflowError as error:
        raise RefusedError(error.what) from error
    return [(volume.array, volume.affine_lps)], False


def sitk_image(image):
    import SimpleITK as sitk

    affine = np.eye(4)
    affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    return sitk.GetArrayFromImage(image), affine


def simpleitk(folder):
    """The series reader, every series of the folder."""
    import SimpleITK as sitk

    found = []
    with captured() as errors:
        for uid in sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(folder)) or series_below(folder):
            reader = sitk.ImageSeriesReader()
            names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder), uid, False, True)
            reader.SetFileNames(names)
            try:
                image = reader.Execute()
                # One file with many frames comes as a series of one volume.
                found.append(sitk_image(image[..., 0] if image.GetDimension() == 4 else image))
            except RuntimeError as error:
                raise RefusedError(str(error)[:200]) from error
    return found, "warn" in errors().lower()


def series_below(folder):
    """GetGDCMSeriesIDs does not look into nested folders; a user would name the one with the files."""
    import SimpleITK as sitk

    for root, _, names in os.walk(folder):
        uids = sitk.ImageSeriesReader.GetGDCMSeriesIDs(root) if names else ()
        if uids:
            return uids
    raise RefusedError("no series")


def dcm2niix(folder):
    import SimpleITK as sitk

    with tempfile.TemporaryDirectory() as out:
        command = [
            str(PROGRAMS / "dcm2niix"),
            "-z",
            "n",
            "-b",
            "n",
            "-w",
            "2",
            "-f",
            "out_%s",
            "-o",
            out,
            str(folder),
        ]
        done = subprocess.run(command, capture_output=True, text=True)
        found = []
        for path in sorted(Path(out).glob("*.nii")):
            image = sitk.ReadImage(str(path))
            phases = image.GetSize()[3] if image.GetDimension() == 4 else 0
            found += [sitk_image(image[..., n] if phases else image) for n in range(max(phases, 1))]
    if not found:
        raise RefusedError(done.stdout[-300:])
    lines = [line for line in done.stdout.splitlines() if "arning" in line]
    # These two it prints for every series here, right or wrong: nothing to go by.
    told = [line for line in lines if "Patient Position" not in line and "manufacturer" not in line]
    return found, bool(told)


def highdicom(folder):
    import highdicom as hd
    import pydicom

    datasets = []
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        with contextlib.suppress(pydicom.errors.InvalidDicomError):
            ds = pydicom.dcmread(path)
            if "Rows" in ds:
                datasets.append(ds)
    try:
        if len(datasets) == 1 and "NumberOfFrames" in datasets[0]:
            volume = hd.Image.from_dataset(datasets[0]).get_volume()
        else:
            volume = hd.get_volume_from_series(datasets)
    except Exception as error:
        raise RefusedError(f"{type(error).__name__}: {error}"[:200]) from error
    # highdicom indexes (slice, row, column); its affine takes indices in that order.
    affine = volume.affine[:, [2, 1, 0, 3]]
    return [(np.asarray(volume.array, dtype=float), affine)], False


def dicom2stl(folder):
    """The mesh has no values: centres of its shells and their distance from the ball's own level."""
    import trimesh

    with tempfile.TemporaryDirectory() as out:
        mesh_file = Path(out) / "out.stl"
        options = ["--isovalue", str(ISO_HU), "--smooth", "0", "--reduce", "0", "--clean-small", "0"]
        done = subprocess.run(
            [str(PROGRAMS / "dicom2stl"), *options, "-T", out, "-o", str(mesh_file), str(folder)],
            capture_output=True,
            text=True,
        )
        if not mesh_file.exists():
            raise RefusedError((done.stderr or done.stdout)[-300:])
        mesh = trimesh.load(mesh_file)
    balls = [(np.array(c), r, v) for c, r, v in SPHERES if v > ISO_HU]
    shells = sorted(mesh.split(only_watertight=False), key=lambda m: len(m.vertices))[-len(balls) :]
    if len(shells) < len(balls):
        return {"centre_mm": LOST, "fitted_mm": LOST, "shape_mm": LOST, "hu_error": 0.0}
    centres, shapes = [], []
    from scipy.special import erfcinv

    for shell in sorted(shells, key=lambda m: len(m.vertices)):
        points = np.asarray(shell.vertices)
        a = np.column_stack([2 * points, np.ones(len(points))])
        centres.append(np.linalg.lstsq(a, (points**2).sum(axis=1), rcond=None)[0][:3])
    for shell, centre, (_, radius, value) in zip(shells, centres, balls, strict=True):
        share = (ISO_HU - BACKGROUND_HU) / (value - BACKGROUND_HU)
        level = radius + np.sqrt(2) * EDGE_SIGMA_MM * erfcinv(2 * share)
        away = np.abs(np.linalg.norm(np.asarray(shell.vertices) - centre, axis=1) - level)
        shapes.append(float(np.percentile(away, 95)))
    absolute, fitted = centre_errors(centres, [ball[0] for ball in balls])
    return {
        "centre_mm": absolute, "fitted_mm": fitted, "shape_mm": max(shapes), "hu_error": 0.0,
    }  # fmt: skip


READERS = {
    "implantflow": implantflow,
    "SimpleITK": simpleitk,
    "dcm2niix": dcm2niix,
    "highdicom": highdicom,
    "dicom2stl": dicom2stl,
}


@contextlib.contextmanager
def captured():
    """What libraries in C++ write to standard error meanwhile."""
    sys.stderr.flush()
    saved = os.dup(2)
    text = []
    with tempfile.TemporaryFile("w+b") as sink:
        os.dup2(sink.fileno(), 2)
        try:
            yield lambda: "".join(text)
        finally:
            os.dup2(saved, 2)
            os.close(saved)
            sink.seek(0)
            text.append(sink.read().decode(errors="replace"))


def figures(volumes):
    """Errors of the volume that has the balls most nearly right: what is made beside it is counted, not judged."""
    measured = [
        (measure(array, affine), hu_error(array, affine)) for array, affine in volumes if array.ndim == 3
    ]
    if not measured:
        raise RefusedError("no volume")
    best, hu = min(measured, key=lambda m: (m[0].centre_mm, m[0].shape_mm))
    three = (best.centre_mm, best.fitted_mm, best.shape_mm)
    centre, fitted, shape = (float(v) if np.isfinite(v) else LOST for v in three)
    return {"centre_mm": centre, "fitted_mm": fitted, "shape_mm": shape, "hu_error": hu}


def hu_error(array, affine):
    """Largest error of the values at the balls' centres, where they truly are."""
    inverse = np.linalg.inv(affine)
    points = np.array([centre for centre, _, _ in SPHERES]) @ inverse[:3, :3].T + inverse[:3, 3]
    found = ndimage.map_coordinates(array.astype(float), points[:, ::-1].T, order=1, mode="nearest")
    return float(np.abs(found - [value for _, _, value in SPHERES]).max())


def main(peer, root, out, *forms):
    entries = []
    for form in forms:
        for folder in sorted((Path(root) / form).iterdir()):
            entry = {"reader": peer, "row": folder.name.replace("_", " "), "layout": form}
            entry.update(refused=False, warned=False)
            try:
                made = READERS[peer](folder)
                if isinstance(made, dict):
                    entry.update(made)
                else:
                    volumes, entry["warned"] = made
                    entry.update(figures(volumes), volumes=len(volumes))
            except RefusedError as refusal:
                entry.update(refused=True, why=str(refusal))
            entries.append(entry)
    Path(out).write_text(json.dumps(entries))


main(*sys.argv[1:])
