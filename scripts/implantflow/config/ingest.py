"""Config of the image series of a case."""

from __future__ import annotations

from datetime import date
from typing import Literal, Self

from pydantic import Field, model_validator

from implantflow.config.base import Name, Section

#: Keys of ``ingest.series[]`` that checks read (docs/outputs.md), in their order.
SERIES_KEYS = (
    "series_uid",
    "modality",
    "n_slices",
    "spacing_mm",
    "tilt_deg",
    "max_residual_mm",
    "resampled",
    "verdict",
)


class SeriesConfig(Section):
    """One image series: where its DICOM files lie and what it must be."""

    dicom: str | None = Field(
        default=None,
        min_length=1,
        description="Folder of the series' DICOM files (searched through all its folders; other series may "
        "lie beside it). Left out in a simulated case, whose scans the pipeline makes itself, and where "
        "`study` is given.",
    )
    study: Name | None = Field(
        default=None,
        description="Instead of a folder: the neutral name under which `python -m implantflow pacs find NODE --as "
        "NAME` sealed a study of an image archive. The pipeline fetches it, whole or not at all.",
    )
    modality: Literal["CT", "MR"] = Field(
        description="What the series must be; a series of another modality is refused. CT becomes HU, MR "
        "keeps its rescaled intensity."
    )
    series_uid: str | None = Field(
        default=None,
        pattern=r"^2\.25\.[0-9]{1,39}$",
        description="Which series to take when the folder holds several: the remapped UID (2.25...) from the "
        "table that the refusal prints. Leave it out when there is only one.",
    )
    resample: bool = Field(
        default=False,
        description="Bring a tilted (gantry tilt) or unevenly spaced series onto a regular grid instead of "
        "refusing it. The manifest says so, and `invented.nii.gz` beside the volume marks every voxel that was "
        "not measured: outside the tilted planes (1, holds air) or between planes further apart than the "
        "grid's step (2, a blend). Planes more than 5 mm apart are refused all the same.",
    )
    acquired: date | None = Field(
        default=None,
        description="Acquisition date to state in the manifest (YYYY-MM-DD), shifted if it must not identify "
        "anyone. The header's own dates never leave the DICOM files.",
    )

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if self.dicom is not None and self.study is not None:
            raise ValueError("give dicom (a folder) or study (of an archive), not both")
        return self


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
    made_images: str | None = Field(
        default=None,
        min_length=3,
        max_length=120,
        description="Only where the images are no person's though they come as files: what they are, as in 'CT made "
        "from the bones of atlas pelvis 2'. Pages, pictures and labels then say simulated. Left out where the "
        "pipeline simulates the patient itself (`simulated`), and for scans of a person.",
    )
