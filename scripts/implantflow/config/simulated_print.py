"""How the prints of a case without a real machine are simulated: process error and scanners."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from implantflow.config.base import Point, Section

Shrinkage = Annotated[float, Field(ge=-1.0, le=2.5)]


class PrintSurface(Section):
    """A structured-light scanner."""

    directions: int = Field(
        ge=6, le=60, description="Directions from which the part is scanned, spread over the sphere (count)."
    )
    noise_mm: float = Field(
        ge=0.0, le=0.2, description="Standard deviation of the noise along the surface normal (mm)."
    )
    missing_radius_mm: float = Field(
        ge=0.0, le=40.0, description="Radius of the patch that the scanner did not reach (mm); 0 for none."
    )
    missing_towards_xyz: Point = Field(
        description="Direction in build_xyz from the middle of the part to the middle of that patch."
    )


class PrintCt(Section):
    """An industrial CT."""

    voxel_mm: float = Field(ge=0.1, le=1.0, description="Edge of the cubic voxels (mm).")
    blur_mm: float = Field(
        ge=0.0, le=1.0, description="Standard deviation of the Gaussian that blurs the image (mm)."
    )
    noise_hu: float = Field(ge=0.0, le=400.0, description="Standard deviation of the noise (HU).")
    metal_hu: float = Field(
        ge=500.0, le=3000.0, description="Grey value of solid metal (HU-like; the DICOM files end at 3071)."
    )


class Workshop(Section):
    """Errors of the simulated milling and boring."""

    face_error_mm: float = Field(
        ge=-1.0,
        le=1.0,
        description="Metal left on every milled face (mm); negative where the mill cut too deep.",
    )
    face_tilt_deg: float = Field(
        ge=0.0, le=2.0, description="Tilt of every milled face about an axis of its own (deg)."
    )
    bore_error_mm: float = Field(ge=-1.0, le=1.0, description="Diameter of every bore less its design (mm).")


class SimulatedPrintConfig(Section):
    """The simulated machine and scanners; everything that inspects such a print says SIMULATED."""

    seed: int = Field(ge=1, le=999_999, description="Noise and the pose in which the part is scanned.")
    shrink_pct: tuple[Shrinkage, Shrinkage, Shrinkage] = Field(
        description="By how much the cold part is smaller than its build file along x, y, z of the build (percent); "
        "0.8 to 1.0 is quoted for electron-beam melted titanium."
    )
    bow_mm: float = Field(
        ge=-2.0, le=2.0, description="How far the middle of the height is pushed towards build +x (mm)."
    )
    resolution_mm: float = Field(
        ge=0.1,
        le=0.5,
        description="Voxels in which the metal is made (mm), rounded to whole layers; struts of 0.67 mm need "
        "0.35 or finer.",
    )
    surface: PrintSurface = Field(description="The scanner of revisions inspected by their surface.")
    ct: PrintCt = Field(description="The scanner of revisions inspected by CT.")
    workshop: Workshop | None = Field(
        default=None,
        description="How the stock is machined away; needed where a revision's machined part is inspected.",
    )
