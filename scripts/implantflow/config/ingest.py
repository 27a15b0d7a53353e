"""Config of the image series of a case."""

from __future__ import annotations

from datetime import date
from typing import Literal

from pydantic import Field

from implantflow.config.base import Name, Section


class SeriesConfig(Section):
    """One image series: where its DICOM files lie and what it must be."""

    dicom: str | None = Field(
        default=None,
        min_length=1,
        description="Folder of the series' DICOM files (searched through all its folders; other series may "
        "lie beside it). Left out in a simulated case, whose scans the pipeline makes itself.",
    )
    modality: Literal["CT", "MR"] = Field(
        description="What the series must be; a series of another modality is refused. CT becomes HU, MR "
        "keeps its rescaled intensity."
    )
    series_uid: str | None = Field(
        default=None,
        pattern=r"^[0-9]+(\.[0-9]+)+$",
        max_length=64,
        description="Which series to take when the folder holds several: the remapped UID (2.25...) from the "
        "table that the refusal prints. Leave it out when there is only one.",
    )
    acquired: date | None = Field(
        default=None,
        description="Acquisition date to state in the manifest (YYYY-MM-DD), shifted if it must not identify "
        "anyone. The header's own dates never leave the DICOM files.",
    )


class IngestConfig(Section):
    """The image series of the case, by neutral name."""

    planning_ct: Name = Field(
        description="Which series the bones are read from; its space is the planning space. It must be a CT."
    )
    series: dict[Name, SeriesConfig] = Field(
        min_length=1,
        description="Neutral name of a series (ct_planning, mr_diagnosis, ...; never the patient's) and its "
        "settings.",
    )
