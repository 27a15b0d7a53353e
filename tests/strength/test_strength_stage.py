"""The two jobs on a block with a strut: equilibrium, agreement, thinning, refusals, same bytes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from strength_block import Room

from implantflow.artifacts import read_json, sha256_file
from implantflow.config.strength import StrengthConfig
from implantflow.errors import GeometryError, InputError, ProvenanceError, QualityGateError
from implantflow.field.cells import occupancy
from implantflow.strength import element, homogenise
from implantflow.strength.localise import StrutStress
from implantflow.strength.stage import strength_final, strength_solid

CONTRACT = {
    "load_cases",
    "max_von_mises_mpa",
    "safety_factor",
    "stiffness_n_per_mm",
    "elements",
    "solver_agreement_pct",
}


def run_solid(room: Room, threads: int = 1) -> dict[str, Any]:
    strength_solid(room.job("solid", threads))
    return dict(read_json(room.path("solid.json")))


def run_final(room: Room, matrix: np.ndarray | None = None) -> dict[str, Any]:
    room.make_field(np.eye(4) if matrix is None else matrix)
    strength_final(room.job("final"))
    return dict(read_json(room.path("final.json")))


def test_solid_stage_figures(room: Room) -> None:
    figures = run_solid(room)
    assert figures.keys() >= CONTRACT
    assert figures["solver_agreement_pct"] < 1e-3
    assert 5.0 < figures["effective_modulus_gpa"] < 7.0
    for case, force in zip(figures["load_cases"], (700.0, 1400.0), strict=True):
        assert case["force_n"] == force
        assert case["force_residual_pct"] < 1e-3
        assert case["moment_residual_pct"] < 1e-3
        assert case["reactions"]["si_joint"]["share_of_load"] == pytest.approx(1.0, rel=1e-4)
    standing = figures["load_cases"][0]
    # The bed alone gives k A; the block above it can only make it softer.
    assert standing["stiffness_n_per_mm"] < 100.0 * 400.0
    # Lattice and strut side by side over 30 mm, as an estimate of the block itself.
    rod = np.pi * 16
    alone = (112e3 * rod + 5.9e3 * (400 - rod)) / 30
    assert standing["implant_alone_stiffness_n_per_mm"] == pytest.approx(alone, rel=0.25)
    assert figures["governing_load_case"] == "stairs"
    assert figures["safety_factor"] == min(c["safety_factor"] for c in figures["load_cases"])
    view = np.load(room.path("solid.npz"))
    assert view["von_mises_mpa"].shape == view["displacement_mm"].shape
    assert (view["von_mises_mpa"] > 0).sum() == figures["elements"]


def test_thinner_dense_strut_is_stressed_more(room: Room) -> None:
    stress, stiffness = [], []
    for radius in (5.0, 3.5, 2.5):
        room.regions["strut"]["segments"][0]["radius_mm"] = radius
        figures = run_solid(room)
        stress.append(figures["load_cases"][0]["max_von_mises_dense_mpa"])
        stiffness.append(figures["stiffness_n_per_mm"])
    assert stress == sorted(stress)
    assert stress[-1] > 1.2 * stress[0]
    assert stiffness == sorted(stiffness, reverse=True)


def test_thinner_lattice_strut_is_stressed_more(room: Room) -> None:
    room.regions["strut"]["segments"] = []
    stress, stiffness = [], []
    for strut in (0.8, 0.67, 0.5):
        room.lattice["strut_mm"] = strut
        figures = run_solid(room)
        stress.append(figures["load_cases"][0]["max_strut_stress_mpa"])
        stiffness.append(figures["stiffness_n_per_mm"])
    assert stress[0] < stress[1] < stress[2]
    assert stress[2] > 1.5 * stress[0]
    assert stiffness == sorted(stiffness, reverse=True)
    assert figures["strut_radius_required_mm"] is None


def test_strut_radius_is_suggested(room: Room) -> None:
    room.settings["sizing"]["strut_radii_mm"] = [1.5, 3.0, 6.0]
    trials = run_solid(room)["strut_sizing"]["trials"]
    factors = [t["safety_factor"] for t in trials]
    limit = (factors[0] + factors[2]) / 2
    room.settings["safety_factor_min"] = limit
    suggested = run_solid(room)["strut_radius_required_mm"]
    assert suggested == min(t["radius_mm"] for t in trials if t["safety_factor"] >= limit)


def test_final_agrees_with_solid_in_any_build_orientation(room: Room) -> None:
    room.regions["contact_faces"][0]["thickness_mm"] = 2.5
    solid = run_solid(room)
    upright = run_final(room)
    assert upright.keys() >= CONTRACT
    assert upright["lattice_density_measured"] == pytest.approx(
        solid["homogenised"]["relative_density"], rel=0.03
    )
    assert upright["stiffness_n_per_mm"] == pytest.approx(solid["stiffness_n_per_mm"], rel=0.03)
    assert upright["max_von_mises_mpa"] == pytest.approx(solid["max_von_mises_mpa"], rel=0.15)
    # Lying on its side the same part carries the same load: x -> y -> z -> x maps the lattice onto itself.
    side = np.eye(4)
    side[:3, :3] = np.eye(3)[[2, 0, 1]]
    lying = run_final(room, side)
    assert lying["stiffness_n_per_mm"] == pytest.approx(upright["stiffness_n_per_mm"], rel=0.02)
    assert lying["cell_axes"] == "build_xyz"


def test_graded_struts_feel_what_struts_of_that_size_feel(room: Room) -> None:
    room.regions["strut"]["segments"] = []
    room.settings["safety_factor_min"] = 1.0
    run_solid(room)
    nominal = run_final(room)
    room.make_field(np.eye(4), grade_mm=0.57)
    strength_final(room.job("final"))
    graded = read_json(room.path("final.json"))
    assert graded["stiffness_n_per_mm"] < 0.95 * nominal["stiffness_n_per_mm"]
    felt = []
    for strut in (0.67, 0.57):
        metal = element.isotropic(112e3, 0.34)
        cell = homogenise.homogenise(occupancy("diamond", 2.5, strut, 32), metal)
        pull = np.array([[0.0, 0.0, 1.0, 0.0, 0.0, 0.0]])
        felt.append(StrutStress.of(cell, metal, 0.99).root_mean_square(pull)[0])
    stress = [f["load_cases"][0]["strut_stress_concentration"] for f in (nominal, graded)]
    assert stress[1] / stress[0] == pytest.approx(felt[1] / felt[0], rel=0.08)


def test_graded_struts_beyond_those_homogenised_are_refused(room: Room) -> None:
    run_solid(room)
    room.make_field(np.eye(4), grade_mm=0.4)
    with pytest.raises(GeometryError, match="cannot be judged"):
        strength_final(room.job("final"))
    assert not room.path("final.json").exists()


@pytest.mark.requirement("strong-enough")
def test_final_refuses_what_is_too_weak(room: Room) -> None:
    run_solid(room)
    room.settings["body_weight_n"] = 2500.0
    room.settings["fatigue_dense"]["strength_mpa"] = 20.0
    room.settings["fatigue_strut"]["strength_mpa"] = 20.0
    with pytest.raises(QualityGateError, match="safety factor") as refused:
        run_final(room)
    assert "patient LPS" in refused.value.where
    assert not room.path("final.json").exists()


def test_a_factor_that_holds_only_without_its_error_bar_is_refused(room: Room) -> None:
    run_solid(room)
    figures = run_final(room)
    bars = figures["grid_sensitivity"]["error_bar_pct"]
    factors = []
    for case in figures["load_cases"]:
        if case["name"] == figures["governing_load_case"]:
            factors = [
                case["safety_factor_dense"] / (1 + bars["max_von_mises_dense_mpa"] / 100),
                case["safety_factor_strut"] / (1 + bars["max_strut_stress_mpa"] / 100),
            ]
    with_bar = figures["safety_factor_with_error_bar"]
    assert with_bar == pytest.approx(min(factors), rel=1e-4)
    assert with_bar < figures["safety_factor"]
    coarse = [key for key, bar in bars.items() if bar > 10.0]
    assert figures["grid_sensitivity"]["not_converged"] == coarse
    assert any("not converged" in line for line in figures["limitations"]) == bool(coarse)
    room.settings["safety_factor_min"] = 0.5 * (with_bar + figures["safety_factor"])
    room.path("final.json").unlink()
    with pytest.raises(QualityGateError, match="error bar of the grid"):
        strength_final(room.job("final"))
    assert not room.path("final.json").exists()


def test_regions_of_another_implant_are_refused(room: Room) -> None:
    room.regions["implant_stl_sha256"] = "0" * 64
    with pytest.raises(ProvenanceError, match="another implant"):
        run_solid(room)


def test_field_of_another_lattice_is_refused(room: Room) -> None:
    run_solid(room)
    room.make_field(np.eye(4))
    room.lattice["strut_mm"] = 0.5
    with pytest.raises(ProvenanceError, match="lattice"):
        strength_final(room.job("final"))


def test_missing_face_is_refused(room: Room) -> None:
    room.settings["supports"][0]["face"] = "midline"
    with pytest.raises(InputError, match="midline"):
        run_solid(room)


def test_same_bytes_on_one_and_two_threads(room: Room) -> None:
    digests = set()
    for threads in (1, 2):
        run_solid(room, threads)
        digests.add((sha256_file(room.path("solid.json")), sha256_file(room.path("solid.npz"))))
    assert len(digests) == 1


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("load_face", "si_joint", "loaded and supported"),
        ("check_voxel_mm", 2.0, "finer"),
        ("body_weight_n", 70.0, "greater than"),
        ("load_share", 0.0, "greater than"),
        ("cell_voxels", 40, "multiple"),
    ],
)
def test_config_refuses(room: Room, key: str, value: Any, says: str) -> None:
    room.settings["voxel_mm"] = 2.5
    with pytest.raises(ValidationError, match=says):
        StrengthConfig.model_validate({**room.settings, key: value})


def test_config_has_no_default_for_loads_supports_and_limits(room: Room) -> None:
    for key in room.settings:
        without = {k: v for k, v in room.settings.items() if k != key}
        with pytest.raises(ValidationError, match=key):
            StrengthConfig.model_validate(without)
