"""CalculiX, an independent program, on the same models: equal answers, and what happens without it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from strength_block import Room
from test_strength_element import uneven_model

from implantflow.artifacts import read_json
from implantflow.errors import QualityGateError
from implantflow.strength import calculix, reference, stage
from implantflow.strength.multigrid import Multigrid
from implantflow.strength.solver import Model, solve

needs_ccx = pytest.mark.skipif(
    calculix.program() is None and os.environ.get("CI") != "true",
    reason="CalculiX (Debian package calculix-ccx) is not installed",
)


@needs_ccx
@pytest.mark.parametrize(("solver", "within"), [("SPOOLES", 2e-3), ("ITERATIVE CHOLESKY", 0.02)])
def test_same_answer_on_two_materials_with_random_shares(tmp_path: Path, solver: str, within: float) -> None:
    model, force = uneven_model()
    ours = solve(model, force, precondition=Multigrid(model), tolerance=1e-9).displacement
    springs = model.springs.reshape(-1, 3)[:, 0]
    theirs = calculix.solve(model, force, [("bed", springs)], tmp_path, solver=solver)
    assert np.abs(ours - theirs.displacement).max() < 0.005 * np.abs(ours).max()
    total = force.reshape(-1, 3).sum(axis=0)
    assert theirs.reactions["bed"] == pytest.approx(-total, abs=0.005 * np.linalg.norm(total))
    # The block moves on its bed as a whole; its strain shows the elements.
    strain, other = model.strain(ours), reference.centre_strain(model, theirs.displacement)
    assert np.linalg.norm(strain - other) < within * np.linalg.norm(strain)
    softer = Model.of(model.mesh, model.elasticity, 0.95 * model.scales, model.springs)
    wrong = softer.strain(solve(softer, force, precondition=Multigrid(softer)).displacement)
    assert np.linalg.norm(wrong - other) > 0.03 * np.linalg.norm(strain)


@needs_ccx
def test_a_failure_of_calculix_is_told(tmp_path: Path) -> None:
    deck = tmp_path / "bad.inp"
    deck.write_text(
        "*NODE\n1,0,0,0\n*ELEMENT, TYPE=C3D8I, ELSET=A\n1,1,2,3,4,5,6,7,8\n*STEP\n*STATIC\n*END STEP\n"
    )
    with pytest.raises(calculix.CalculixError, match="CalculiX failed"):
        calculix.run(deck)


@needs_ccx
def test_the_job_agrees_within_half_a_per_cent(room: Room) -> None:
    figures = run(room)
    assert figures["ran"]
    assert figures["agreement_pct"] < 0.5
    assert {c["name"] for c in figures["load_cases"]} == {"standing", "stairs"}


@needs_ccx
def test_the_job_refuses_what_differs(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    real = calculix.solve

    def off(model: Model, force: np.ndarray, *args: Any, **options: Any) -> calculix.Answer:
        return real(model, 1.02 * force, *args, **options)

    monkeypatch.setattr(calculix, "solve", off)
    with pytest.raises(QualityGateError, match="differ"):
        run(room)


def test_without_calculix_the_job_says_so(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calculix, "program", lambda: None)
    figures = run(room)
    assert not figures["ran"]
    assert "not installed" in figures["reason"]
    with pytest.raises(calculix.CalculixError, match="calculix-ccx"):
        calculix.run(room.path("x.inp"))


def run(room: Room) -> dict[str, Any]:
    room.make_field(np.eye(4))
    stage.strength_calculix(room.job("calculix"))
    return dict(read_json(room.path("calculix.json")))
