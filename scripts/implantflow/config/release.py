"""Config of the release: which build revision, the device's names, dates, the age its images may have."""

from __future__ import annotations

import datetime
from typing import Annotated

from pydantic import Field

from implantflow.config.base import Name, Section
from implantflow.config.site import ImagingLimits

#: One line of a label; longer ones would not fit it.
LabelText = Annotated[str, Field(min_length=1, max_length=48, pattern=r"^\S(.*\S)?$")]


class Device(Section):
    """What label and documents call the device. Nothing here is made up: the manufacturer states it."""

    name: LabelText = Field(description="Name of the device as on its label.")
    manufacturer: LabelText = Field(description="Who places the device at the theatre's disposal.")
    lot: LabelText = Field(description="Lot or serial number of this device.")
    material: LabelText = Field(description="Material as on the label, e.g. Ti-6Al-4V ELI.")
    catalogue_number: LabelText | None = Field(
        default=None, description="Catalogue number; left out of the label when absent."
    )
    udi: LabelText | None = Field(
        default=None,
        description="UDI as its issuing agency writes it, in readable form; copied to the label, never made or "
        "checked here. Left out when absent.",
    )


class ReleaseConfig(Section):
    """What goes to the theatre."""

    revision: Name = Field(
        description="The build revision that is released; its print was inspected and accepted."
    )
    date: datetime.date = Field(
        description="Date of the release (YYYY-MM-DD), written on label, history and DICOM object; never the "
        "day of the run. The manufacturing record must end by then. Shifted if it must not identify anyone."
    )
    surgery_date: datetime.date | None = Field(
        default=None,
        description="Planned date of surgery (YYYY-MM-DD); without it the age of the images cannot be "
        "determined, and a clinical case is not released.",
    )
    imaging_max_age_days: ImagingLimits = Field(
        description="How old the images may be on the date of surgery, days; older ones block the release. A "
        "case may be stricter than its site (config/site.yaml, imaging_max_age), never looser."
    )
    device: Device = Field(description="What label and documents call the device.")
    traveller: str | None = Field(
        default=None,
        min_length=1,
        description="The filled manufacturing traveller (JSON, saved by release/traveller.html), seen from the "
        "project's folder. Without it the release stays open, and a clinical case waits.",
    )
