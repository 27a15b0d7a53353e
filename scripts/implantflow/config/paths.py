"""Config of the beam's paths in dense metal, part of a machine preset."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from implantflow.config.base import Section


class Paths(Section):
    """Where the beam runs in dense metal: contour passes inside the outline, and the filling within them.

    Without this section the beam runs along the outline itself, and the metal grows by half the melt's width.
    """

    melt_width_mm: float = Field(
        description="Width of the track that one pass melts (mm). The outer contour runs half of it inside the outline "
        "(beam compensation); metal further than half of it from every path counts as not melted.",
        gt=0.02,
        le=1.0,
    )
    contours: int = Field(
        description="Contour passes (count): the outer one, and inner ones inside it.", ge=1, le=10
    )
    contour_pitch_mm: float = Field(
        description="Distance of neighbouring contour passes (mm), at most melt_width_mm.", gt=0.0, le=1.0
    )
    hatch_gap_mm: float = Field(
        description="Hatches end this far inside the last contour pass (mm); 0 lets them end on it.",
        ge=0.0,
        le=1.0,
    )
    hatch_turn_deg: float = Field(
        description="How far hatches of dense metal turn from layer to layer (deg, counter-clockwise), from along x in "
        "the layer on the plate. The net of the struts always alternates between x and y.",
        ge=0.0,
        lt=180.0,
    )
    hatch_order: Literal["snake", "one_way"] = Field(
        description="Neighbouring hatches run to and fro (snake), or all the same way (one_way)."
    )
    line_order: Literal["tiles", "nearest"] = Field(
        description="Order of the lines in the open build file: tile by tile, or from each line or outline to the "
        "nearest next. Where the order of the CLI file jumps less, it is kept."
    )
    source: str = Field(description="Where these figures come from.", min_length=3)
    verified: bool = Field(description="Were they confirmed on the machine?")

    @property
    def contour_depths_mm(self) -> tuple[float, ...]:
        """Distance of each contour pass from the outline, outermost first."""
        return tuple(0.5 * self.melt_width_mm + n * self.contour_pitch_mm for n in range(self.contours))

    @property
    def hatch_depth_mm(self) -> float:
        """Distance that hatches keep from the outline."""
        return self.contour_depths_mm[-1] + self.hatch_gap_mm
