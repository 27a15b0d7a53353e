"""The exponent of growth is the one that was put in, and a steeper end is not averaged away."""

from __future__ import annotations

import pytest
from tests.scale.growth import exponent, table


def points(costs: list[float]) -> list[dict]:
    sizes = (1.0, 4.0, 16.0)
    return [
        {"what": "a job", "unit": "cases", "size": s, "cpu_s": c, "peak_mb": 100.0, "disk_mb": 0.0}
        for s, c in zip(sizes, costs, strict=True)
    ]


@pytest.mark.parametrize("slope", [0.5, 1.0, 2.0])
def test_power_laws(slope: float) -> None:
    assert exponent(points([s**slope for s in (1.0, 4.0, 16.0)]), "cpu_s") == pytest.approx(slope)


def test_fixed_cost_does_not_hide_a_steep_end() -> None:
    steep = points([10.0, 10.5, 10.0 + 16.0**2])
    assert exponent(steep, "cpu_s") > 1.1
    assert exponent(points([0.0, 1.0, 2.0]), "cpu_s") is None
    assert table(steep)[2].startswith("| a job | 1, 4, 16 cases | 10, 10.5, 266 | **")
