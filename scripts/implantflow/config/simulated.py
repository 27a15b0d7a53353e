"""How the scans of the project's own phantom patient are simulated."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Self

from pydantic import Field, model_validator

from implantflow.config.base import Section

Millimetres = Annotated[float, Field(gt=0.2, le=8.0)]
Spacing = tuple[Millimetres, Millimetres, Millimetres]

#: The draw that makes the project's template; no patient may share it (a prior must not be the answer).
TEMPLATE_SEED = 101


class StudyDates(Section):
    """When the simulated studies took place."""

    mr_diagnosis: date = Field(description="Date of the MR at diagnosis, ISO 8601.")
    mr_preoperative: date = Field(description="Date of the MR after chemotherapy, ISO 8601.")
    ct_planning: date = Field(description="Date of the planning CT (after chemotherapy), ISO 8601.")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not self.mr_diagnosis < self.mr_preoperative:
            raise ValueError("mr_preoperative must be later than mr_diagnosis")
        if not self.mr_diagnosis < self.ct_planning:
            raise ValueError("ct_planning must be later than mr_diagnosis (it is taken after chemotherapy)")
        return self


class SimulatedConfig(Section):
    """A phantom patient: which draw, and how finely it is scanned."""

    seed: int = Field(
        ge=1,
        le=999_999,
        description="Which patient is drawn: shape, pose, texture and noise all follow from it. "
        f"{TEMPLATE_SEED} is the project's template and is refused.",
    )
    ct_spacing_mm: Spacing = Field(
        description="Voxel size of the planning CT along columns, rows and slices, mm. "
        "0.8 x 0.8 x 1.0 is a clinical protocol for planning; above 2 mm the cortex is lost."
    )
    ct_caudal_mm: float = Field(
        ge=110, le=150, description="How far the CT reaches below the S1 endplate, mm (hip joint: 106)."
    )
    ct_cranial_mm: float = Field(
        ge=60, le=125, description="How far the CT reaches above the S1 endplate, mm (L3: about 90 to 118)."
    )
    ct_noise_hu: float = Field(
        ge=0, le=80, description="Standard deviation of the CT noise in soft tissue, HU (clinical: 10 to 25)."
    )
    mr_spacing_mm: Spacing = Field(
        description="Voxel size of the MR along columns, rows and slices, mm (clinical: 0.9 x 0.9 x 4)."
    )
    mr_slices: int = Field(ge=20, le=80, description="Number of MR slices; they are centred at S2.")
    mr_noise_percent: float = Field(
        ge=0, le=20, description="Rician noise of the MR in percent of the signal of fat."
    )
    kvp: float = Field(ge=80, le=140, description="Tube voltage written into the CT headers, kV.")
    kernel: str = Field(
        min_length=1, max_length=16, description="Reconstruction kernel written into the CT headers."
    )
    study_dates: StudyDates = Field(description="Dates of the three studies.")

    @model_validator(mode="after")
    def _not_the_template(self) -> Self:
        if self.seed == TEMPLATE_SEED:
            raise ValueError(f"seed {TEMPLATE_SEED} is the project's template, not a patient")
        return self
