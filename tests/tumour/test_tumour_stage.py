"""The tumour stage on a made-up pelvis: grown, outlined and virtual tumours, and everything it must refuse."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
from scipy import ndimage

from implantflow.artifacts import read_json, read_stl, sha256_file
from implantflow.config.tumour import GrowTimepoint, TumourConfig
from implantflow.errors import GeometryError, InputError
from implantflow.geometry import FloatArray, transform_points
from implantflow.jobs import Job
from implantflow.tumour.grow import grow
from implantflow.tumour.stage import measure_tumour
from implantflow.volumes import Volume, read_volume, write_volume

#: Tumour in the planning CT: centre and semi-axes, patient LPS mm (left of the middle).
CENTRE = np.array([28.0, 30.0, -10.0])
SEMI_MM = np.array([16.0, 19.0, 21.0])
TRUTH_MM3 = 4 / 3 * np.pi * float(np.prod(SEMI_MM))


def ct_from_mr() -> FloatArray:
    matrix = trimesh.transformations.rotation_matrix(0.07, [1, -1, 2])
    matrix[:3, 3] = (6.0, -4.0, 9.0)
    return np.asarray(matrix)


def lattice(shape: tuple[int, int, int], affine: FloatArray) -> FloatArray:
    k, j, i = np.indices(shape)
    return transform_points(affine, np.stack([i.ravel(), j.ravel(), k.ravel()], axis=1))


@cache
def patient() -> tuple[Volume, Volume, Volume]:
    """(CT, labels, MR): an oval body, sacrum and wings, a bright tumour on MR."""
    affine = np.diag([3.0, 3.0, 3.0, 1.0])
    affine[:3, 3] = (-117.0, -90.0, -78.0)
    shape = (52, 60, 79)
    x, y, z = lattice(shape, affine).T
    rng = np.random.default_rng(8)
    texture = ndimage.gaussian_filter(rng.standard_normal(shape), 2.5).ravel() * 12
    body = (x / 108) ** 2 + (y / 82) ** 2 < 1
    sacrum = (x / 45) ** 2 + ((y - 30) / 22) ** 2 + ((z + 10) / 52) ** 2 < 1
    labels = np.zeros(len(x), np.uint8)
    labels[sacrum] = 1
    for code, sign in ((2, 1), (3, -1)):
        wing = ((sign * x - 66 - 0.2 * z) / 12) ** 2 + ((y - 10) / 44) ** 2 + ((z - 5) / 58) ** 2 < 1
        labels[wing & ~sacrum] = code
    hu = np.where(body, 40 + 60 * texture, -1000)
    hu = np.where(labels > 0, 350 + 120 * texture, hu)
    ct = Volume(ndimage.gaussian_filter(hu.reshape(shape), 0.5).astype(np.int16), affine)
    bones = Volume(labels.reshape(shape), affine)

    grid = np.diag([1.5, 1.5, 4.0, 1.0])
    grid[:3, 3] = (-100.0, -80.0, -76.0)
    mr_shape = (36, 106, 130)
    in_ct = transform_points(ct_from_mr(), lattice(mr_shape, grid))
    index = ct.lps_to_index(in_ct)[:, ::-1].T
    value = ndimage.map_coordinates(ct.array.astype(float), index, order=1, cval=-1000)
    signal = np.interp(value, [-900, -60, 40, 140, 350, 800], [3, 110, 70, 100, 120, 50])
    distance = np.linalg.norm((in_ct - CENTRE) / SEMI_MM, axis=1)
    share = np.clip((1 - distance) * float(SEMI_MM.mean()) / 2.0 + 0.5, 0, 1)
    signal = signal * (1 - share) + share * 260
    bias = 1 + 0.2 * np.cos(in_ct[:, 0] / 90) * np.cos(in_ct[:, 1] / 100)
    noisy = signal * bias + rng.standard_normal(len(signal)) * 4
    return ct, bones, Volume(np.clip(noisy, 0, 4000).reshape(mr_shape).astype(np.int16), grid)


def seed_in_mr() -> list[float]:
    return [float(v) for v in transform_points(np.linalg.inv(ct_from_mr()), CENTRE[None])[0]]


def grow_settings(**changes: Any) -> dict[str, Any]:
    return {
        "method": "grow",
        "name": "diagnosis",
        "series": "mr_diagnosis",
        "seed_lps_mm": seed_in_mr(),
        "seed_radius_mm": 5.0,
        "lower_of_seed": 0.75,
        "upper_of_seed": 1.5,
        "max_radius_mm": 40.0,
        "neck_mm": 4.0,
        "closing_mm": 2.0,
        "edge_search_mm": 3.0,
        **changes,
    }


def virtual_settings(**changes: Any) -> dict[str, Any]:
    return {
        "method": "ellipsoid",
        "name": "virtual",
        "centre_lps_mm": CENTRE.tolist(),
        "axes_mm": (2 * SEMI_MM).tolist(),
        **changes,
    }


def run(folder: Path, timepoints: list[dict[str, Any]], side: str = "left", **tumour: Any) -> Job:
    ct, labels, mr = patient()
    for name, volume in (("ct", ct), ("labels", labels), ("mr", mr)):
        write_volume(folder / f"{name}.nii.gz", volume)
    outputs = {f"mask_{t['name']}": folder / f"{t['name']}_mask.nii.gz" for t in timepoints}
    outputs |= {f"surface_{t['name']}": folder / f"{t['name']}_surface.stl" for t in timepoints}
    job = Job(
        rule="measure_tumour",
        case_dir=folder,
        wildcards={},
        inputs={
            "ct": folder / "ct.nii.gz",
            "labels": folder / "labels.nii.gz",
            "volumes": [folder / "ct.nii.gz", folder / "mr.nii.gz"],
            "manifests": [],
        },
        outputs={"tumour_stl": folder / "tumour.stl", "tumour": folder / "tumour.json", **outputs},
        settings={
            "tumour": {"timepoints": timepoints, "max_bone_gap_mm": 2.0, **tumour},
            "side": side,
            "series_names": ["ct_planning", "mr_diagnosis"],
            "purpose": "demo",
        },
        function="implantflow.tumour.stage:measure_tumour",
        code_digest="0",
    )
    measure_tumour(job)
    return job


def test_grown_tumour_is_measured_and_brought_into_planning_space(tmp_path: Path) -> None:
    smaller = virtual_settings(name="later", axes_mm=(1.8 * SEMI_MM).tolist())
    job = run(tmp_path, [grow_settings(), smaller])
    found = read_json(job.outputs["tumour"])
    grown, virtual = found["timepoints"]
    assert grown["volume_mm3"] == pytest.approx(TRUTH_MM3, rel=0.05)
    assert grown["mesh_volume_mm3"] == pytest.approx(grown["volume_mm3"], rel=0.02)
    assert grown["axes_mm"] == pytest.approx([38.0, 32.0, 42.0], abs=2.5)
    assert np.allclose(grown["centroid_lps_mm"], CENTRE, atol=1.0)
    assert np.allclose(grown["registration"]["ct_from_series"], ct_from_mr(), atol=0.6)
    assert not grown["virtual"] and virtual["virtual"] and found["virtual"]
    assert found["response"]["volume_change_pct"] == pytest.approx(100 * (0.9**3 - 1), abs=4)
    assert found["response"]["recist"] == "SD" and found["side"] == "left"
    assert any("virtual tumour" in flag for flag in found["response"]["flags"])

    masks = [read_volume(job.outputs[f"mask_{name}"]) for name in ("diagnosis", "later")]
    assert np.array_equal(masks[0].affine_lps, masks[1].affine_lps)
    union = (masks[0].array | masks[1].array) > 0
    assert found["union_volume_mm3"] == pytest.approx(float(union.sum()))
    mesh = trimesh.Trimesh(*read_stl(job.outputs["tumour_stl"]), process=False)
    assert mesh.is_watertight and mesh.volume == pytest.approx(float(union.sum()), rel=0.02)


def test_same_bytes_twice(tmp_path: Path) -> None:
    digests = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        job = run(tmp_path / name, [virtual_settings()])
        digests.append([sha256_file(path) for path in job.outputs.values()])
    assert digests[0] == digests[1]


def test_virtual_tumour_alone_has_no_response(tmp_path: Path) -> None:
    job = run(tmp_path, [virtual_settings()])
    found = read_json(job.outputs["tumour"])
    assert found["virtual"] and found["response"]["recist"] is None
    assert found["timepoints"][0]["volume_mm3"] == pytest.approx(TRUTH_MM3, rel=0.005)
    assert found["timepoints"][0]["registration"] is None


def test_outlined_mask_on_its_grid(tmp_path: Path) -> None:
    _, _, mr = patient()
    points = transform_points(ct_from_mr(), lattice(mr.array.shape, mr.affine_lps))
    inside = (np.linalg.norm((points - CENTRE) / SEMI_MM, axis=1) <= 1).reshape(mr.array.shape)
    path = tmp_path / "outline.nii.gz"
    write_volume(path, mr.like((inside * 3).astype(np.uint8)))
    timepoint = {
        "method": "mask",
        "name": "diagnosis",
        "series": "mr_diagnosis",
        "file": str(path),
        "label": 3,
    }
    found = read_json(run(tmp_path, [timepoint]).outputs["tumour"])["timepoints"][0]
    assert found["volume_mm3"] == pytest.approx(TRUTH_MM3, rel=0.02) and found["components"] == 1
    assert np.allclose(found["centroid_lps_mm"], CENTRE, atol=1.0)

    shifted = mr.affine_lps.copy()
    shifted[0, 3] += 1.5
    write_volume(path, Volume((inside * 3).astype(np.uint8), shifted))
    with pytest.raises(GeometryError, match="on another grid"):
        run(tmp_path, [timepoint])
    write_volume(path, mr.like(inside.astype(np.uint8)))
    with pytest.raises(InputError, match="label 3 is not"):
        run(tmp_path, [timepoint])


def outlined(path: Path, image: Volume, to_ct: FloatArray, **changes: Any) -> dict[str, Any]:
    """A mask of the true tumour on the grid of ``image``, and its time point."""
    points = transform_points(to_ct, lattice(image.array.shape, image.affine_lps))
    inside = (np.linalg.norm((points - CENTRE) / SEMI_MM, axis=1) <= 1).reshape(image.array.shape)
    write_volume(path, image.like(inside.astype(np.uint8)))
    return {
        "method": "mask",
        "name": "diagnosis",
        "series": "mr_diagnosis",
        "file": str(path),
        "label": 1,
        **changes,
    }


def test_landmarks_register_instead_of_the_images(tmp_path: Path) -> None:
    places = np.array(
        [[60, 20, 20], [-60, 20, 20], [0, 50, -50], [0, -10, 30], [40, -20, -20], [-40, 40, 0]], dtype=float
    )
    there = transform_points(np.linalg.inv(ct_from_mr()), places)
    pairs = {
        f"p{n}": {"series_lps_mm": a.tolist(), "ct_lps_mm": b.tolist()}
        for n, (a, b) in enumerate(zip(there, places, strict=True))
    }
    marked = {"pairs": pairs, "limit_mm": 3.0}
    timepoint = outlined(tmp_path / "outline.nii.gz", patient()[2], ct_from_mr(), landmarks=marked)
    found = read_json(run(tmp_path, [timepoint]).outputs["tumour"])["timepoints"][0]
    assert found["registration"]["method"] == "landmarks, rigid"
    assert np.allclose(found["registration"]["ct_from_series"], ct_from_mr(), atol=1e-5)
    assert np.allclose(found["centroid_lps_mm"], CENTRE, atol=1.0)
    pairs["p3"]["ct_lps_mm"][2] += 12.0
    with pytest.raises(GeometryError, match="landmarks of mr_diagnosis do not fit together"):
        run(tmp_path, [timepoint])


def test_outline_on_the_planning_ct_is_not_moved(tmp_path: Path) -> None:
    """And where the CT does not tell it from a mirrored copy, a flag says so."""
    timepoint = outlined(tmp_path / "outline.nii.gz", patient()[0], np.eye(4), series="ct_planning")
    found = read_json(run(tmp_path, [timepoint]).outputs["tumour"])
    assert found["timepoints"][0]["registration"] is None
    assert found["timepoints"][0]["orientation"]["verdict"] == "cannot be determined"
    assert any("does not tell it from copies" in flag for flag in found["response"]["flags"])
    assert np.allclose(found["timepoints"][0]["centroid_lps_mm"], CENTRE, atol=1.0)


@pytest.mark.parametrize(
    ("timepoint", "side", "kind", "cause"),
    [
        (virtual_settings(), "right", GeometryError, "config says 'right'.*patient's left"),
        (virtual_settings(centre_lps_mm=[-28, 30, -10]), "left", GeometryError, "patient's right"),
        (virtual_settings(centre_lps_mm=[400, 30, -10]), "left", GeometryError, "outside the planning CT"),
        (virtual_settings(centre_lps_mm=[28, 30, 80]), "left", GeometryError, "outside the planning CT"),
        (virtual_settings(centre_lps_mm=[60, -40, -10]), "left", GeometryError, "touches no bone"),
        (grow_settings(seed_lps_mm=[500, 0, 0]), "left", InputError, "outside the image"),
    ],
)
def test_refusals(
    timepoint: dict[str, Any], side: str, kind: type[Exception], cause: str, tmp_path: Path
) -> None:
    with pytest.raises(kind, match=cause):
        run(tmp_path, [timepoint], side=side)
    assert not (tmp_path / "tumour.json").exists() and not (tmp_path / "tumour.stl").exists()


def grown_volume(**changes: Any) -> float:
    mask, _ = grow(patient()[2], GrowTimepoint.model_validate(grow_settings(**changes)))
    return float(mask.array.sum()) * mask.voxel_volume_mm3


def test_growth_hardly_depends_on_seed_and_limits() -> None:
    reference = grown_volume()
    moved = [v + d for v, d in zip(seed_in_mr(), (5.0, -4.0, 6.0), strict=True)]
    assert grown_volume(seed_lps_mm=moved) == pytest.approx(reference, rel=0.02)
    assert grown_volume(lower_of_seed=0.82) == pytest.approx(reference, rel=0.02)


@pytest.mark.requirement("tumour-leak-refused")
def test_leak_is_refused() -> None:
    with pytest.raises(GeometryError, match="leaked"):
        grown_volume(lower_of_seed=0.2)


@pytest.mark.requirement("tumour-part-missed")
@pytest.mark.parametrize(("more", "refused"), [(0.02, False), (0.3, True)])
def test_part_that_enhances_less_is_not_missed_silently(
    more: float, refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A limit lowered by a little that takes in a third more: the growth before it missed a part."""
    import implantflow.tumour.grow as module

    honest = module.move_to_half_level
    sizes: list[float] = []

    def larger_when_lowered(mask: Any, *rest: Any) -> Any:
        found = honest(mask, *rest)
        sizes.append(float(found.sum()))
        if len(sizes) == 2:
            free = np.argwhere(~found)
            taken = free[: int(more * sizes[0])]
            found = found.copy()
            found[tuple(taken.T)] = True
        return found

    monkeypatch.setattr(module, "move_to_half_level", larger_when_lowered)
    if not refused:
        assert grown_volume() > 0
        return
    with pytest.raises(GeometryError, match="hangs on its limit"):
        grown_volume()


def test_limit_smaller_than_the_tumour_is_refused() -> None:
    with pytest.raises(GeometryError, match="leaked into other tissue, or is larger"):
        grown_volume(max_radius_mm=15.0)


def test_seed_at_the_edge_of_the_tumour_is_refused() -> None:
    edge = transform_points(np.linalg.inv(ct_from_mr()), (CENTRE + np.array([0, 19, 0]))[None])[0]
    with pytest.raises(InputError, match="not uniform"):
        grown_volume(seed_lps_mm=edge.tolist())


def test_tumour_at_the_border_of_the_image_is_refused() -> None:
    mr = patient()[2]
    seed_k = round(float(mr.lps_to_index([seed_in_mr()])[0, 2]))
    cut = Volume(mr.array[seed_k - 2 :], mr.affine_lps.copy())
    cut.affine_lps[:3, 3] += mr.affine_lps[:3, 2] * (seed_k - 2)
    with pytest.raises(GeometryError, match="border of series"):
        grow(cut, GrowTimepoint.model_validate(grow_settings()))


def test_config_names_may_not_repeat() -> None:
    with pytest.raises(ValueError, match="twice"):
        TumourConfig.model_validate(
            {"timepoints": [virtual_settings(), virtual_settings()], "max_bone_gap_mm": 1}
        )
