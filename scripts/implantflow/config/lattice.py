"""Config of the porous filling and of the limits its measured figures must keep."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from implantflow.config.base import Section
from implantflow.config.presets import load_preset

#: Presets of the repository, one YAML each, with their sources.
PRESET_FOLDER = Path(__file__).resolve().parents[3] / "config" / "lattices"


class LatticeLimits(Section):
    """What the measured lattice must keep; a figure outside is an error that names the place."""

    porosity_min: float = Field(
        description="Least porosity of the porous region (fraction). Over 0.5 is quoted as needed for bone "
        "ingrowth, pelvic practice is 0.53-0.86 (PMC6882053).",
        ge=0.3,
        le=0.95,
    )
    porosity_max: float = Field(
        description="Greatest porosity of the porous region (fraction). Pelvic practice ends at 0.86 (PMC6882053).",
        ge=0.3,
        le=0.95,
    )
    pore_min_um: float = Field(
        description="Least pore diameter, as the largest sphere inside a pore (um). Powder removal after EBM "
        "wants 500-800 um (literature, not verified here).",
        ge=100.0,
        le=5000.0,
    )
    throat_min_um: float = Field(
        description="Least throat diameter, as the largest sphere that passes through the cell (um). Powder "
        "removal wants 500 um (literature, not verified here).",
        ge=100.0,
        le=5000.0,
    )
    strut_min_mm: float = Field(
        description="Thinnest strut the machine prints reliably (mm). EBM: 0.4-0.5 (literature, not verified).",
        ge=0.1,
        le=2.0,
    )
    closed_pores_max: int = Field(
        description="How many closed pores are accepted (count): each holds powder for ever.", ge=0, le=100
    )
    closed_notch_mm: float = Field(
        default=0.2,
        description="A closed void that holds no sphere of this diameter (mm) is a notch, listed but not counted "
        "as a pore: it is narrower than one line of the beam (0.2 mm, literature), which melts it shut.",
        ge=0.0,
        le=0.3,
    )
    closed_pore_fill_max_mm3: float = Field(
        default=0.0,
        description="Closed pores up to this volume (mm3) are melted shut with a ball of dense metal, as recorded in "
        "lattice.json (filled_pores); larger ones count. 0 fills none.",
        ge=0.0,
        le=5.0,
    )
    powder_pockets_max: int | None = Field(
        default=None,
        description="How many places may hold a sphere of throat_min_um that cannot leave the part (count); they are "
        "listed in any case, and judged only where this is given, since powder is finer than the throat.",
        ge=0,
        le=10_000,
    )
    loose_islands_max: int = Field(
        description="How many pieces of metal without connection to the implant, larger than "
        "build.limits.crumb_max_mm3, are accepted (count). Smaller crumbs are left out of the build.",
        ge=0,
        le=100,
    )


class VoronoiConfig(Section):
    """Pattern of a Voronoi lattice."""

    seed: int = Field(description="Which of the patterns (count).", ge=0, le=2**31 - 1)
    irregularity: float = Field(
        description="Share of its cube (fraction) within which a seed may lie.", ge=0.3, le=1.0
    )


class GradingConfig(Section):
    """Strut diameter by distance from the surface or from named contact faces, linear in between."""

    faces: list[Literal["midline", "caudal", "si_joint", "l5s1"]] = Field(
        default=[],
        description="Contact faces that the distance is measured from; none for the whole surface.",
    )
    near_mm: float = Field(description="Strut (mm) at the surface or the faces.", ge=0.2, le=1.5)
    far_mm: float = Field(description="Strut (mm) at over_mm and beyond.", ge=0.2, le=1.5)
    over_mm: float = Field(description="Depth (mm) at which the strut has reached far_mm.", ge=1.0, le=50.0)


class StressGradingConfig(Section):
    """Strut diameter by the stress that strength/solid finds in nominal struts; no defaults: strength rests on it.

    Between the two stresses the strut grows linearly. It is then made smooth over ``over_mm`` and is nowhere thinner
    than the stress at that place asks for.
    """

    strut_min_mm: float = Field(description="Strut (mm) where the stress is low_mpa or less.", ge=0.2, le=1.5)
    strut_max_mm: float = Field(
        description="Strut (mm) where the stress is high_mpa or more.", ge=0.2, le=1.5
    )
    low_mpa: float = Field(
        description="Stress (MPa) in nominal struts, the greatest of all load cases, up to which the thinnest strut "
        "will do.",
        ge=0.0,
        le=1000.0,
    )
    high_mpa: float = Field(
        description="Stress (MPa) in nominal struts from which on the thickest strut is wanted.",
        gt=0.0,
        le=1000.0,
    )
    over_mm: float = Field(
        description="Length (mm) that the whole change from the thinnest to the thickest strut takes at least, along "
        "each axis of the strength grid.",
        ge=1.0,
        le=50.0,
    )

    @model_validator(mode="after")
    def _rising(self) -> Self:
        if self.strut_min_mm >= self.strut_max_mm or self.low_mpa >= self.high_mpa:
            raise ValueError("strut_min_mm and low_mpa must be smaller than strut_max_mm and high_mpa")
        return self


class TextureConfig(Section):
    """A rugged surface: waves of one length in all directions."""

    amplitude_mm: float = Field(
        description="Largest shift of the surface (mm); the outer surface is only ever taken away, by up to this.",
        gt=0.0,
        le=0.5,
    )
    wavelength_mm: float = Field(description="Length of the waves (mm).", ge=0.8, le=10.0)
    seed: int = Field(description="Which of the patterns (count).", ge=0, le=2**31 - 1)


class LatticeConfig(Section):
    """Cell and strut of the porous region, and how it is measured.

    ``preset`` names a file of config/lattices; keys written beside it win over the preset's.
    """

    preset: str | None = Field(
        default=None,
        description="Name of a preset in config/lattices (without .yaml) that fills cell, cell_mm and strut_mm.",
    )
    cell: Literal["diamond", "rhombic_dodecahedron", "gyroid", "gyroid_sheet", "voronoi"] = Field(
        description="Cell of the lattice. diamond, rhombic_dodecahedron: round struts; gyroid: skeletal, one labyrinth "
        "solid; gyroid_sheet: a wall between two labyrinths; voronoi: seeded round struts that repeat nowhere."
    )
    cell_mm: float = Field(
        description="Edge of the cubic cell (mm); a whole, even number of layers and of 5 um units. Voronoi: edge of "
        "the cube that holds one seed.",
        ge=1.0,
        le=6.0,
    )
    strut_mm: float | None = Field(
        default=None,
        description="Strut diameter (mm). For the gyroids: diameter of the sphere that fits the thinnest place. Give "
        "this or porosity.",
        ge=0.2,
        le=1.5,
    )
    porosity: float | None = Field(
        default=None,
        description="Porosity (fraction) that the strut is solved for, instead of strut_mm; lattice.json records the "
        "strut found.",
        ge=0.3,
        le=0.95,
    )
    voronoi: VoronoiConfig | None = Field(
        default=None, description="Which of the Voronoi patterns; only with cell voronoi, and needed there."
    )
    grading: GradingConfig | None = Field(
        default=None, description="Strut diameter that changes with depth; strut_mm is then the nominal one."
    )
    stress_grading: StressGradingConfig | None = Field(
        default=None,
        description="Strut diameter by the stress of strength/solid, instead of grading; strut_mm is then the nominal "
        "one, which strength/solid uses.",
    )
    fillet_mm: float = Field(
        default=0.0,
        description="Radius (mm) of the corner between a strut and dense metal; 0 for a sharp corner.",
        ge=0.0,
        le=1.0,
    )
    texture: TextureConfig | None = Field(
        default=None,
        description="Rugged surface of contact faces and dense strut; all other skin, holes and passages stay smooth.",
    )
    grid_mm: float = Field(
        default=0.5,
        description="Spacing of the stored distance grids of solid and dense region (mm). Between nodes they "
        "are linear; 0.5 mm keeps a 2 mm radius within 16 um (h^2/8r).",
        ge=0.2,
        le=1.0,
    )
    measure_grid_mm: float = Field(
        default=0.22,
        description="Voxel of the sampling over the implant: volumes, closed pores, loose islands (mm). It should "
        "share no short period with the cell, so that no layer of struts is favoured.",
        ge=0.1,
        le=0.5,
    )
    coupon_cells: int = Field(
        default=4, description="Cells along the edge of the test coupon (count).", ge=2, le=12
    )
    preview_mm: float = Field(
        default=0.4,
        description="Grid spacing of the preview mesh (mm); for looking at, never for making.",
        ge=0.1,
        le=1.0,
    )
    preview_slab_mm: float = Field(
        default=4.0, description="Thickness of the slab that the preview shows (mm).", ge=1.0, le=50.0
    )
    limits: LatticeLimits = Field(description="Limits for the measured figures.")

    @model_validator(mode="before")
    @classmethod
    def _fill_from_preset(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("preset") is not None:
            preset = dict(load_preset(PRESET_FOLDER, str(data["preset"]), "preset")["lattice"])
            if data.get("porosity") is not None and "strut_mm" not in data:
                preset.pop("strut_mm", None)
            return {**preset, **data}
        return data

    @model_validator(mode="after")
    def _belongs_together(self) -> Self:
        if (self.strut_mm is None) == (self.porosity is None):
            raise ValueError("give either strut_mm or porosity, for which the strut is then solved")
        if (self.voronoi is not None) != (self.cell == "voronoi"):
            raise ValueError("the section voronoi belongs to cell voronoi, and to no other")
        if self.grading is not None and self.stress_grading is not None:
            raise ValueError("give either grading or stress_grading: a strut has one thickness")
        return self
