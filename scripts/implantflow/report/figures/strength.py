"""Pictures of strength: the cell's stiffness, the implant's displacement and stress, how safe its struts are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from implantflow.report import canvas, palette, svgplot
from implantflow.report.figures import base
from implantflow.report.figures.base import Context, Figure, Float
from implantflow.report.meshes import Mesh
from implantflow.report.views import Part

_VIEWS = ("anterior", "left lateral", "posterior")
_NOT_JUDGED_WORDS = "not judged: beside a loaded or held face, or less than half of the element filled"

#: Safety factors above this multiple of the least one are all shown alike.
_SHOWN_MULTIPLE = 3.0


def stiffness_of_cell(context: Context) -> list[Figure]:
    """Modulus against density with the fitted law, and modulus against direction."""
    facts = context.files.json("strength/cell.json")
    if not facts or "elasticity_gpa" not in facts:
        return []
    return [f for f in (_gibson_ashby(facts), _anisotropy(facts)) if f is not None]


def _gibson_ashby(facts: Mapping[str, Any]) -> Figure | None:
    law = facts.get("gibson_ashby") or {}
    samples = law.get("samples") or []
    if len(samples) < 2 or "half_range" not in samples[0]:
        return None
    density = np.array([s["relative_density"] for s in samples])
    modulus = np.array([s["relative_modulus"] for s in samples])
    half = np.array([s["half_range"] for s in samples])
    fine = np.linspace(density.min(), density.max(), 40)
    fit = law["coefficient"] * fine ** law["exponent"]
    words = f"E/Es = {law['coefficient']:.2f} ρ^{law['exponent']:.2f}"
    lines = [svgplot.Line(100 * fine, 100 * fit, svgplot.BLUE, words)]
    for x, y, reach in zip(100 * density, 100 * modulus, 100 * half, strict=True):
        lines.append(svgplot.Line(np.array([x, x]), np.array([y - reach, y + reach]), svgplot.ORANGE))
        lines.append(svgplot.Line(np.array([x - 0.35, x + 0.35]), np.array([y, y]), svgplot.ORANGE))
    title = "Stiffness against density"
    svg = svgplot.plot(title, "metal, % of the volume", "modulus, % of the metal's", lines).encode()
    caption = (
        f"The {facts['cell']} cell with five struts; bars: range of the two ways to fill a voxel that is partly metal, "
        f"at half the resolution. At the case's own strut, carried on to voxels of size zero: "
        f"{facts['effective_modulus_gpa']:.2f} GPa ± {facts['error_pct']:.1f} %."
    )
    return Figure("gibson-ashby", title, caption, title, "image/svg+xml", svg)


def _anisotropy(facts: Mapping[str, Any]) -> Figure:
    compliance = np.linalg.inv(np.array(facts["elasticity_gpa"], dtype=np.float64))
    angle = np.radians(np.linspace(0.0, 180.0, 181))
    flat = np.stack([np.sin(angle), np.zeros_like(angle), np.cos(angle)], axis=1)
    steep = np.stack([np.sin(angle) / np.sqrt(2), np.sin(angle) / np.sqrt(2), np.cos(angle)], axis=1)
    degrees = np.degrees(angle)
    lines = [
        svgplot.Line(degrees, modulus_along(compliance, flat), svgplot.BLUE, "towards x"),
        svgplot.Line(degrees, modulus_along(compliance, steep), svgplot.ORANGE, "towards x = y", "5 3"),
    ]
    title = "Stiffness against direction"
    svg = svgplot.plot(title, "angle from the cell's z axis, degrees", "Young's modulus, GPa", lines).encode()
    zener = facts["constants"]["zener"]
    off = facts.get("cubic_deviation")
    caption = (
        f"Young's modulus of the cell from its whole elasticity tensor; anisotropy 2 C44/(C11-C12) = {zener:.2f} "
        "(1 would be alike in all directions)"
        + (f"; the tensor is cubic to {100 * off:.2g} %." if off is not None else ".")
    )
    return Figure("anisotropy", title, caption, title, "image/svg+xml", svg)


def modulus_along(compliance: Float, directions: Float) -> Float:
    """Young's modulus (N,) along unit ``directions`` (N, 3); compliance (6, 6) in the order xx yy zz yz xz xy."""
    x, y, z = directions.T
    stress = np.stack([x * x, y * y, z * z, y * z, x * z, x * y], axis=1)
    return np.asarray(1.0 / np.einsum("ni,ij,nj->n", stress, compliance, stress))


def on_the_implant(context: Context) -> list[Figure]:
    """Displacement, stress and safety of the governing load case on the implant's surface."""
    implant = context.files.mesh("implant/implant.stl")
    which = "final" if context.files.exists("strength/final/view.npz") else "solid"
    facts = context.files.json(f"strength/{which}/strength.json") or {}
    if implant is None or not context.files.exists(f"strength/{which}/view.npz"):
        return []
    with np.load(context.files.path(f"strength/{which}/view.npz"), allow_pickle=False) as arrays:
        view = {key: np.asarray(arrays[key], dtype=np.float64) for key in arrays.files}
    at = _elements_at(view, implant)
    doubt = _not_converged(facts)
    case = f"{which}, {facts.get('governing_load_case', 'governing load case')}"
    found = [_moved(context, implant, view, at, case)]
    if {"fatigue_dense", "fatigue_strut"} <= facts.keys():
        found.append(_safety(context, implant, view, at, facts, case))
    return [replace(figure, caption=figure.caption + doubt) for figure in found]


def _not_converged(facts: Mapping[str, Any]) -> str:
    """What of the shown stresses still depends on the grid, as a sentence for the caption."""
    grid = facts.get("grid_sensitivity") or {}
    bars, names = (
        grid.get("error_bar_pct") or {},
        {
            "max_von_mises_dense_mpa": "largest stress of dense metal",
            "max_strut_stress_mpa": "strut stress",
        },
    )
    said = [
        f"{name} ± {bars[key]:.0f} %"
        for key, name in names.items()
        if key in (grid.get("not_converged") or [])
    ]
    return f" Not converged with the grid: {', '.join(said)}." if said else ""


def _elements_at(view: Mapping[str, Float], mesh: Mesh) -> NDArray[np.int64]:
    """(N,) flat index of the stressed element that holds or is nearest to each vertex of a mesh in patient LPS.

    Elements less than half filled have no stress of their own; their neighbour inwards stands for them.
    """
    from scipy.ndimage import distance_transform_edt

    grid_from_patient = np.linalg.inv(view["patient_from_grid"])
    points = mesh.vertices @ grid_from_patient[:3, :3].T + grid_from_patient[:3, 3]
    place = np.floor((points - view["origin_mm"]) / view["spacing_mm"]).astype(np.int64)[:, ::-1]
    filled = _stressed(view)
    place = np.clip(place, 0, np.array(filled.shape) - 1)
    nearest = distance_transform_edt(~filled, return_distances=False, return_indices=True)
    k, j, i = (axis[tuple(place.T)] for axis in nearest)
    return np.asarray(np.ravel_multi_index((k, j, i), filled.shape))


def _stressed(view: Mapping[str, Float]) -> NDArray[np.bool_]:
    return np.asarray((view["dense_share"] >= 0.5) | (view["porous_share"] >= 0.5))


def _moved(
    context: Context, implant: Mesh, view: Mapping[str, Float], at: NDArray[np.int64], case: str
) -> Figure:
    moved = 1000.0 * view["displacement_mm"].ravel()[at]
    stress = np.where(view["dense_share"] >= 0.5, view["von_mises_mpa"], view["strut_mpa"]).ravel()[at]
    judged = view["judged"].ravel()[at] > 0
    top = float(np.percentile(stress[judged], 99.5)) if judged.any() else 1.0
    rows = []
    for values, limit, unit, shown in (
        (moved, float(moved.max()), "µm", np.ones(len(moved), dtype=bool)),
        (stress, top, "MPa", judged),
    ):
        colours = palette.sequential(values, 0.0, limit) / 255.0
        colours[~shown] = palette.unit_rgb(palette.NOT_JUDGED)
        image = base.four_views([Part(implant, colours)], [implant], _VIEWS, 400, 320)
        what = (
            "displacement"
            if unit == "µm"
            else "von Mises stress of the metal (dense parts; struts in the lattice)"
        )
        rows.append(
            canvas.colour_bar(image, palette.SEQUENTIAL, "0", f"{limit / 2:.0f}", f"{limit:.0f} {unit}", what)
        )
    image = canvas.legend(canvas.column(rows), [(_NOT_JUDGED_WORDS, palette.NOT_JUDGED)])
    return base.finish(
        context,
        "strength-surface",
        f"Displacement and stress on the implant ({case})",
        "Each point shows the finite element under it. The displacement includes that of the elastic beds which "
        "stand for bone. Stress colours end at the 99.5th percentile of the judged surface.",
        "The implant from three sides, coloured by displacement above and by von Mises stress below.",
        image,
    )


def _safety(
    context: Context,
    implant: Mesh,
    view: Mapping[str, Float],
    at: NDArray[np.int64],
    facts: Mapping[str, Any],
    case: str,
) -> Figure:
    dense = view["dense_share"] >= 0.5
    stress = np.where(dense, view["von_mises_mpa"], view["strut_mpa"])
    strength = np.where(dense, facts["fatigue_dense"]["strength_mpa"], facts["fatigue_strut"]["strength_mpa"])
    factor = np.where(stress > 0, strength / np.maximum(stress, 1e-9), np.inf)
    filled = (view["dense_share"] + view["porous_share"]) > 0
    judged = (view["judged"] > 0) & _stressed(view)
    least = np.where(judged, factor, np.inf)
    worst = float(least.min())
    top = max(float(np.ceil(_SHOWN_MULTIPLE * worst)), 3.0) if np.isfinite(worst) else 3.0

    def paint(values: Float, shown: NDArray[np.bool_]) -> Float:
        # Bright is little safety: the ramp is turned round.
        colours = palette.sequential(top - np.minimum(values, top), 0.0, top - 1.0) / 255.0
        colours[~shown] = palette.unit_rgb(palette.NOT_JUDGED)
        return np.asarray(colours)

    outside = paint(factor.ravel()[at], judged.ravel()[at])
    surface = base.four_views([Part(implant, outside)], [implant], _VIEWS, 400, 320)
    k, j, i = (int(n) for n in np.unravel_index(int(np.argmin(least)), least.shape))
    panels = []
    for name, cut in (
        ("across z", np.s_[k]),
        ("across y", np.s_[::-1, j]),
        ("across x", np.s_[::-1, :, i]),
    ):
        colours = (255.0 * paint(factor[cut], judged[cut])).astype(np.uint8)
        colours[~filled[cut]] = 255
        repeat = max(1, round(380 / max(colours.shape[:2])))
        image = np.ascontiguousarray(np.repeat(np.repeat(colours, repeat, axis=0), repeat, axis=1))
        spacing = float(np.ravel(view["spacing_mm"])[0])
        panels.append(canvas.titled(canvas.scale_bar(image, spacing / repeat, dark=False), name))
    image = canvas.column([surface, canvas.row(panels)])
    image = canvas.legend(image, [(_NOT_JUDGED_WORDS, palette.NOT_JUDGED)])
    image = canvas.colour_bar(
        image,
        palette.SEQUENTIAL,
        f"≥ {top:g}",
        f"{(top + 1) / 2:g}",
        "≤ 1",
        f"safety factor: fatigue strength / stress; least {worst:.1f}",
    )
    states = [
        f"{name} {_state(facts[key])}"
        for name, key in (("dense metal", "fatigue_dense"), ("struts", "fatigue_strut"))
    ]
    return base.finish(
        context,
        "strut-safety",
        f"Safety of struts and dense metal ({case})",
        "On the surface, and in sections through the least safe judged element. Fatigue strength: "
        f"{'; '.join(states)}. In the lattice, the stress of the worst element is spread to the others by the root "
        "mean square in the cell.",
        "The implant from three sides and in three sections, coloured by safety factor.",
        image,
    )


def _state(fatigue: Mapping[str, Any]) -> str:
    """Strength with the surface and treatment it holds for."""
    words = [
        str(fatigue.get("surface", "surface not stated")).replace("_", " "),
        "HIP" if fatigue.get("hip") else "no HIP",
        "verified" if fatigue.get("verified") else "not verified",
    ]
    return f"{fatigue['strength_mpa']:g} MPa ({', '.join(words)})"
