"""Config of the porous filling and of the limits its measured figures must keep."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

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
    loose_islands_max: int = Field(
        description="How many pieces of metal without connection to the implant, larger than "
        "build.limits.crumb_max_mm3, are accepted (count). Smaller crumbs are left out of the build.",
        ge=0,
        le=100,
    )


class LatticeConfig(Section):
    """Cell and strut of the porous region, and how it is measured.

    ``preset`` names a file of config/lattices; keys written beside it win over the preset's.
    """

    preset: str | None = Field(
        default=None,
        description="Name of a preset in config/lattices (without .yaml) that fills cell, cell_mm and strut_mm.",
    )
    cell: Literal["diamond", "rhombic_dodecahedron", "gyroid", "gyroid_sheet"] = Field(
        description="Periodic cell. diamond, rhombic_dodecahedron: round struts; gyroid: skeletal, one labyrinth "
        "solid; gyroid_sheet: a wall between two labyrinths."
    )
    cell_mm: float = Field(
        description="Edge of the cubic cell (mm); a whole, even number of layers and of 5 um units.",
        ge=1.0,
        le=6.0,
    )
    strut_mm: float = Field(
        description="Strut diameter (mm). For the gyroids: diameter of the sphere that fits the thinnest place.",
        ge=0.2,
        le=1.5,
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
        default=4, description="Cells along each edge of the test coupon (count).", ge=2, le=10
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
            preset = load_preset(PRESET_FOLDER, str(data["preset"]))
            return {**preset["lattice"], **data}
        return data
