"""Age of the images on the date of surgery: a tumour may have grown past a plan made from old ones."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any

from implantflow.config.base import Section
from implantflow.config.site import ImagingLimits
from implantflow.errors import ConfigError, InputError, QualityGateError

UNKNOWN = "cannot be determined"


class ImagingRule(Section):
    """What the age of the images is judged by; the limits are the site's where the case states none."""

    surgery_date: date | None
    limits: ImagingLimits | None
    site: ImagingLimits


@dataclass(frozen=True)
class Image:
    """One series whose age matters; ``acquired`` is None when nobody stated it."""

    name: str
    modality: str
    acquired: date | None


def deciding_images(manifest: dict[str, Any], tumour: dict[str, Any], ingest: dict[str, Any]) -> list[Image]:
    """The planning CT, and the latest tumour MR where the case has one.

    Parameters
    ----------
    manifest, tumour, ingest : as their stages wrote them
        A date stated for the series comes first, then that of the tumour's time point.
    """
    images = [Image(str(manifest["name"]), "CT", _date(manifest.get("acquired")))]
    stated = {series["name"]: series.get("acquired") for series in ingest["series"]}
    modality = {series["name"]: series["modality"] for series in ingest["series"]}
    seen = [t for t in tumour["timepoints"] if modality.get(t.get("series")) == "MR"]
    if seen:
        last = seen[-1]
        acquired = stated.get(last["series"]) or last.get("acquired")
        images.append(Image(str(last["series"]), "MR", _date(acquired)))
    return images


def planned_images(
    manifest: dict[str, Any], tumour: dict[str, Any], ingest: dict[str, Any], plan: dict[str, Any]
) -> list[Image]:
    """As :func:`deciding_images`, of the time points that ``plan`` was made with."""
    used = {entry["name"] for entry in plan["imaging"]}
    planned = {**tumour, "timepoints": [t for t in tumour["timepoints"] if t["name"] in used]}
    return deciding_images(manifest, planned, ingest)


def check_age(images: list[Image], rule: ImagingRule, *, clinical: bool) -> dict[str, Any]:
    """Compare each image's age with its limit.

    Returns
    -------
    dict
        ``surgery_date``, ``verdict`` and one entry per image; what is not known says so.

    Raises
    ------
    QualityGateError
        An image is older than the case allows.
    InputError
        An image was made after the planned surgery; or, in a clinical case, a date is missing.
    ConfigError
        The case is looser than its site.
    """
    limits, site = rule.limits or rule.site, rule.site
    for key in ("ct_days", "mr_days"):
        if getattr(limits, key) > getattr(site, key):
            raise ConfigError(
                f"release.imaging_max_age_days.{key} is {getattr(limits, key)}, the site allows "
                f"{getattr(site, key)}",
                where="release.imaging_max_age_days",
                fix="write the site's figure or a smaller one (config/site.yaml, imaging_max_age)",
            )
    entries = [_entry(image, rule.surgery_date, limits) for image in images]
    stale = [e for e in entries if e["verdict"] == "too old"]
    if stale:
        listed = "; ".join(
            f"{e['modality']} {e['name']} will be {e['age_days']} days old, limit {e['max_age_days']}"
            for e in stale
        )
        raise QualityGateError(
            f"images too old on the date of surgery: {listed}",
            where=f"release.surgery_date {rule.surgery_date}",
            fix="image again and plan on the new series; the plan may not fit the tumour any more",
        )
    missing = [e for e in entries if e["verdict"] == UNKNOWN]
    if missing and clinical:
        raise InputError(
            f"the age of {', '.join(e['name'] for e in missing)} cannot be determined",
            where="release.surgery_date, ingest.series.NAME.acquired",
            fix="state the planned date of surgery and the acquisition date of each series",
        )
    return {
        "surgery_date": rule.surgery_date.isoformat() if rule.surgery_date else None,
        "verdict": UNKNOWN if missing else "within the limits",
        "images": entries,
    }


def _entry(image: Image, surgery: date | None, limits: ImagingLimits) -> dict[str, Any]:
    most = limits.ct_days if image.modality == "CT" else limits.mr_days
    entry: dict[str, Any] = {
        "name": image.name,
        "modality": image.modality,
        "acquired": image.acquired.isoformat() if image.acquired else None,
        "age_days": None,
        "max_age_days": most,
    }
    if surgery is None or image.acquired is None:
        absent = "date of surgery" if surgery is None else "acquisition date"
        return {**entry, "verdict": UNKNOWN, "reason": f"no {absent} stated"}
    age = (surgery - image.acquired).days
    if age < 0:
        raise InputError(
            f"{image.modality} {image.name} was made on {image.acquired}, after the surgery planned for {surgery}",
            where="release.surgery_date",
            fix="correct one of the two dates",
        )
    return {**entry, "age_days": age, "verdict": "too old" if age > most else "within the limit"}


def _date(value: Any) -> date | None:
    return date.fromisoformat(str(value)) if value else None
