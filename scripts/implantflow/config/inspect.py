"""Config of the inspection of printed parts: what was scanned, and when a print is accepted."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from implantflow.config.base import Name, Section


class InspectLimits(Section):
    """Limits of the inspection; what lies outside is rejected, what was not seen cannot be judged."""

    tolerance_mm: float = Field(
        gt=0.0,
        le=2.0,
        description="Greatest allowed deviation of the printed outer surface from the design, either way (mm). It is "
        "the surgeon's and the engineer's figure for the fit; electron-beam melting as built reaches 0.2 to 0.4.",
    )
    within_tolerance_min_pct: float = Field(
        ge=50.0,
        le=100.0,
        description="Least share of the scanned outer surface inside the tolerance (percent).",
    )
    p95_max_mm: float = Field(
        gt=0.0,
        le=2.0,
        description="95 % of the scanned outer surface must deviate by no more than this (mm).",
    )
    scale_error_max_pct: float = Field(
        gt=0.0,
        le=2.0,
        description="Greatest allowed error of the printed size along any axis of the build (percent). Not known "
        "twice as well as this (standard error), it cannot be judged.",
    )
    coverage_min_pct: float = Field(
        ge=50.0,
        le=100.0,
        description="Least share of the designed outer surface, and of every contact face, that the scan must show "
        "(percent). The walls of holes and passages are not counted: no scanner sees into them.",
    )


class PartScan(Section):
    """The scan of one part, as a surface or by CT."""

    kind: Literal["surface", "ct"] = Field(
        description="surface: a mesh of an optical scanner (STL, mm). ct: an industrial CT (DICOM), which sees into "
        "bores."
    )
    file: str | None = Field(
        default=None,
        min_length=1,
        description="Kind surface: the scan's STL below the site's data_root. Left out where prints are simulated.",
    )
    series: Name | None = Field(
        default=None, description="Kind ct: neutral name under which the CT of the part is ingested."
    )
    dicom: str | None = Field(
        default=None,
        min_length=1,
        description="Kind ct: folder of its DICOM files below the site's data_root. Left out where prints are "
        "simulated.",
    )

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Self:
        if self.kind == "surface" and (self.series or self.dicom):
            raise ValueError("a scan of kind surface: leave series and dicom out, give file")
        if self.kind == "ct" and self.file:
            raise ValueError("a scan of kind ct: leave file out, give series and dicom")
        if self.kind == "ct" and self.series is None:
            raise ValueError("a scan of kind ct: name its series, for example print_r1")
        return self


class MachinedScan(PartScan):
    """The scan of a part whose machining stock was cut away; no defaults, since they are the workshop's figures."""

    face_tolerance_mm: float = Field(
        gt=0.0,
        le=1.0,
        description="Greatest allowed deviation of a milled face from the design, either way (mm), after the part is "
        "laid on the design by its surfaces as built. The pose by such surfaces is good to some hundredths.",
    )
    bore_tolerance_mm: float = Field(
        gt=0.0,
        le=1.0,
        description="Greatest allowed difference of a bore's diameter from the design, and of its axis anywhere along "
        "the bore (mm).",
    )


class InspectRevision(PartScan):
    """The scan of one printed build revision."""

    id: Name = Field(description="Build revision that was printed and scanned.")
    machined: MachinedScan | None = Field(
        default=None,
        description="The scan of the same part after machining; only where implant.machining is given.",
    )

    @property
    def scans(self) -> dict[str, PartScan]:
        """The scan of the print, and that of the machined part, by the state the part was in."""
        return {"print": self} | ({} if self.machined is None else {"machined": self.machined})


class InspectSettings(InspectLimits):
    """The limits and the one revision of a job."""

    revision: InspectRevision = Field(description="The revision that this job inspects.")


class InspectConfig(InspectLimits):
    """The inspection of the prints."""

    revisions: tuple[InspectRevision, ...] = Field(
        min_length=1, description="Printed revisions, oldest first; the last is the one that can be released."
    )

    @property
    def scans(self) -> list[tuple[str, str, PartScan]]:
        """All scans: revision, state of the part (``print`` or ``machined``), scan."""
        return [(r.id, state, scan) for r in self.revisions for state, scan in r.scans.items()]

    @model_validator(mode="after")
    def _each_once(self) -> InspectConfig:
        for what, names in (
            ("revision", [r.id for r in self.revisions]),
            ("series", [scan.series for _, _, scan in self.scans if scan.series]),
        ):
            twice = {name for name in names if names.count(name) > 1}
            if twice:
                raise ValueError(f"inspected {what} listed twice: {', '.join(sorted(map(str, twice)))}")
        return self
