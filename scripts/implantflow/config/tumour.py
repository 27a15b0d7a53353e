"""Config of the tumour's extent over time and of the figures that a report states about it."""

from __future__ import annotations

from datetime import date
from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from implantflow.config.base import Name, Point, Section

Positive = Annotated[float, Field(gt=0)]


class _Timepoint(Section):
    name: Name = Field(description="Name of the time point, e.g. diagnosis or preoperative.")
    acquired: date | None = Field(
        default=None,
        description="Date of the examination (YYYY-MM-DD), shifted if it must not identify anyone.",
    )


class LandmarkPair(Section):
    """The same point, marked by a person in both images."""

    series_lps_mm: Point = Field(description="In the time point's own series, patient LPS mm.")
    ct_lps_mm: Point = Field(description="In the planning CT, patient LPS mm.")


class Landmarks(Section):
    """Registration of a time point's series by marked points, instead of by the images."""

    pairs: dict[Name, LandmarkPair] = Field(
        min_length=6,
        description="Point pairs by name, spread around the tumour: ends of bones, foramina, edges of endplates. Three "
        "fix a rigid motion, three more let a slip show.",
    )
    limit_mm: float = Field(
        gt=0,
        le=10,
        description="Largest error to expect at the tumour (Fitzpatrick 1998), and largest error with which the other "
        "pairs may predict one, mm; more is refused. The margin must have room for it.",
    )


class _ImageTimepoint(_Timepoint):
    landmarks: Landmarks | None = Field(
        default=None,
        description="Point pairs that register the series, where its image does not suffice (distorted, too small a "
        "field). Left out: registered by mutual information.",
    )


class GrowTimepoint(_ImageTimepoint):
    """Tumour grown from a seed in an enhanced T1 MR."""

    method: Literal["grow"] = "grow"
    series: Name = Field(description="The MR series, a name under ingest.series.")
    seed_lps_mm: Point = Field(
        description="A point well inside the tumour, patient LPS mm of the MR itself (as a viewer shows it)."
    )
    seed_radius_mm: float = Field(
        gt=0,
        le=15,
        description="Radius of the ball around the seed whose median is the tumour's intensity, mm; it must "
        "lie wholly inside enhancing tumour.",
    )
    lower_of_seed: float = Field(
        gt=0,
        lt=1,
        description="Lowest intensity that counts as tumour, as a share of the seed's median after bias "
        "correction; half-way to the surrounding tissue is usual.",
    )
    upper_of_seed: float = Field(
        gt=1,
        le=10,
        description="Highest intensity that counts as tumour, as a multiple of the seed's median.",
    )
    max_radius_mm: float = Field(
        ge=5,
        le=150,
        description="The tumour must lie within this distance of the seed, mm; growth that reaches it has "
        "leaked and is refused.",
    )
    neck_mm: float = Field(
        ge=0,
        le=20,
        description="Bridges thinner than this are no tumour: growth does not pass through them, mm.",
    )
    closing_mm: float = Field(
        ge=0,
        le=10,
        description="Gaps and notches narrower than twice this are closed, mm; holes inside (necrosis, "
        "septa) are always filled.",
    )
    edge_search_mm: float = Field(
        ge=0,
        le=6,
        description="The outline is moved to where the intensity is half-way between the tumour and what lies "
        "beside it, at most this far from the grown region, mm; limits alone put it too far in or out, "
        "depending on the neighbour. 0: leave it.",
    )


class MaskTimepoint(_ImageTimepoint):
    """Tumour outlined in another program."""

    method: Literal["mask"] = "mask"
    series: Name = Field(description="The series that was outlined, a name under ingest.series.")
    file: str = Field(
        min_length=1,
        description="NIfTI, NRRD or MHA label map or DICOM Segmentation on the very grid of the series; any other grid "
        "is refused, and so is a map that fits its image clearly better mirrored or permuted.",
    )
    label: int = Field(ge=1, description="Value of the tumour in the label map.")


class EllipsoidTimepoint(_Timepoint):
    """A virtual tumour: an ellipsoid put into the planning CT, for cases without a tumour image."""

    method: Literal["ellipsoid"] = "ellipsoid"
    series: None = Field(default=None, description="A virtual tumour has no image series.")
    centre_lps_mm: Point = Field(description="Centre, patient LPS mm of the planning CT.")
    axes_mm: tuple[Positive, Positive, Positive] = Field(
        description="Full diameters along left-right, front-back and head-foot, mm."
    )


Timepoint = Annotated[GrowTimepoint | MaskTimepoint | EllipsoidTimepoint, Field(discriminator="method")]


class ReportedFigures(Section):
    """What a report says about the tumour at one time point; checked, never used."""

    name: Name = Field(description="Which time point the report speaks of.")
    axes_cm: tuple[Positive, Positive, Positive] = Field(description="Diameters as reported, cm.")
    volume_cm3: float = Field(gt=0, description="Volume as reported, cm3.")
    change_pct: float | None = Field(
        default=None,
        ge=-100,
        description="Change of volume against the first reported time point as the report states it, percent "
        "(-32 for a reduction by 32 %).",
    )


class TumourConfig(Section):
    """The tumour's extent at each time point, first one first."""

    timepoints: list[Timepoint] = Field(
        min_length=1,
        description="Time points in order; the margin is measured to the union of all of them, response from "
        "the first to the last.",
    )
    max_bone_gap_mm: float = Field(
        ge=0,
        le=20,
        description="Largest distance between the registered tumour and the sacrum, mm; a sacral tumour "
        "further away is a wrong seed or a wrong registration and is refused.",
    )
    reported: list[ReportedFigures] = Field(
        default=[],
        description="Figures of a report to be checked against each other, in time order (may be empty).",
    )
    reported_axes_rounding_cm: float = Field(
        default=0.05,
        ge=0,
        le=1,
        description="Half of the last digit of the reported axes, cm: 0.05 for axes given to 0.1 cm.",
    )
    reported_volume_rounding_cm3: float = Field(
        default=0.5,
        ge=0,
        le=10,
        description="Half of the last digit of the reported volumes, cm3: 0.5 for whole cubic centimetres.",
    )

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        for label, found in (
            ("timepoints", [t.name for t in self.timepoints]),
            ("reported", [r.name for r in self.reported]),
        ):
            if len(set(found)) != len(found):
                raise ValueError(f"tumour.{label} uses a name twice")
        return self

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        dated = [t for t in self.timepoints if t.acquired is not None]
        for before, after in pairwise(dated):
            assert before.acquired is not None and after.acquired is not None
            if after.acquired < before.acquired:
                raise ValueError(
                    f"tumour.timepoints: '{after.name}' ({after.acquired}) stands after '{before.name}' "
                    f"({before.acquired}), but was acquired before it; response is told from the first to the last"
                )
        return self
