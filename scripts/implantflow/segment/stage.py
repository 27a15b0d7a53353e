"""Door of the stage: from the planning CT to one label map and one solid per bone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from implantflow.artifacts import read_json, write_json, write_stl
from implantflow.config.segment import SegmentConfig
from implantflow.errors import ConfigError, GeometryError, InputError
from implantflow.geometry import FloatArray
from implantflow.jobs import Job
from implantflow.segment.core import SURFACED, Segmentation, segment_volume
from implantflow.segment.labelmap import LabelMap, read_label_map
from implantflow.segment.labels import LABELS
from implantflow.segment.landmarks import from_config, read_points
from implantflow.segment.prior import ShapePrior, read_atlas, read_template
from implantflow.volumes import Volume, read_volume, write_volume

#: Range of a CT in HU: air at least this dark and cortex at least this bright must be in it.
AIR_HU, CORTEX_HU = -300.0, 400.0


def segment_bones(job: Job) -> None:
    """Stage ``segment``.

    Inputs: ``volume`` (planning CT), ``manifest``, ``invented`` (mask of ingest), ``prior`` (template npz, atlas
    files, or label map), optional ``landmarks`` (3D Slicer markups) and ``edited`` (label map). Outputs: ``labels``,
    ``confidence``, one STL per bone, ``segment``.
    """
    settings = SegmentConfig.model_validate(job.settings["segment"])
    manifest = read_json(job.input("manifest"))
    volume = read_volume(job.input("volume"))
    check_modality(str(manifest.get("modality", "unknown")), volume, settings)
    prior = read_prior(settings.prior.kind, job.input_list("prior"))
    landmarks = find_landmarks(settings, job.optional_input("landmarks"))
    edited = job.optional_input("edited")
    corrected = None if edited is None else read_label_map(edited)
    result = segment_volume(volume, prior, settings, landmarks, corrected)
    if manifest.get("resampled"):
        result.report.update(not_measured(result.labels, read_volume(job.input("invented"))))
    write_results(result, {name: Path(path) for name, path in job.outputs.items()})


def read_prior(kind: str, files: list[Path]) -> ShapePrior | LabelMap:
    """The prior of ``kind`` from its files.

    Raises
    ------
    InputError
        No file, or files of another kind.
    """
    if not files:
        raise InputError(
            f"the shape prior '{kind}' has no file", where="segment.prior", fix="set segment.prior.path"
        )
    if kind == "atlas":
        return read_atlas(files)
    if len(files) > 1:
        raise InputError(
            f"the shape prior '{kind}' is one file, {len(files)} were given", where="segment.prior"
        )
    return read_template(files[0]) if kind == "template" else read_label_map(files[0])


def find_landmarks(settings: SegmentConfig, markups: Path | None) -> dict[str, FloatArray] | None:
    """Landmarks of the config or of the markups file; None when the prior is posed without them."""
    if markups is None and settings.prior.landmarks_file is not None:
        markups = Path(settings.prior.landmarks_file)
    if markups is not None:
        return read_points(markups)
    if settings.prior.landmarks is not None:
        return from_config(settings.prior.landmarks)
    return None


def not_measured(labels: Volume, invented: Volume) -> dict[str, Any]:
    """Share of each bone that ingest blended across a gap between planes, in per cent, and a warning.

    Parameters
    ----------
    labels : (K, J, I) codes of :data:`LABELS`.
    invented : mask of ingest on the same grid; what lies outside the planes holds air, so no bone is found there.

    Raises
    ------
    GeometryError
        The mask lies on another grid.
    """
    # Not above: it brings the whole DICOM reader, which few scans need here.
    from implantflow.dicom.resample import BRIDGED

    if invented.array.shape != labels.array.shape:
        raise GeometryError("the mask of invented voxels is not on the grid of the CT", where="ingest")
    shares = {}
    for name, code in LABELS.items():
        own = labels.array == code
        if own.any():
            shares[name] = 100.0 * float((invented.array[own] == BRIDGED).mean())
    told = ", ".join(f"{name} {share:.1f} %" for name, share in shares.items() if share > 0)
    warning = f"not measured but blended across a gap between slices: {told}; look at these places"
    return {"not_measured_pct": shares, "warnings": [warning] if told else []}


def check_modality(modality: str, volume: Volume, settings: SegmentConfig) -> None:
    """Refuse anything that is not a CT in HU, unless a label map on MR was asked for in so many words.

    Raises
    ------
    ConfigError, InputError
    """
    opted_in = settings.modality_opt_in == "mr_without_cortex" and settings.prior.kind == "label_map"
    if modality == "MR" and opted_in:
        return
    if modality != "CT":
        raise ConfigError(
            f"bones are segmented from CT, and the planning series is {modality}: on MR cortical bone is black",
            where="case.planning series",
            fix="name a CT as planning series, or import a label map and set segment.modality_opt_in: "
            "mr_without_cortex",
        )
    low, high = float(volume.array.min()), float(volume.array.max())
    if low > AIR_HU or high < CORTEX_HU:
        raise InputError(
            f"values run from {low:.0f} to {high:.0f}: not CT numbers with air and bone in them",
            where="planning CT",
            fix="check rescale slope and intercept of the series",
        )


def write_results(result: Segmentation, outputs: dict[str, Path]) -> None:
    """Write everything to the paths named ``labels``, ``confidence``, ``segment`` and by bone."""
    write_volume(outputs["labels"], result.labels)
    write_volume(outputs["confidence"], result.confidence)
    for name in SURFACED:
        surface = result.solids[name].solid.surface
        write_stl(outputs[name], surface.vertices_lps_mm, surface.faces, f"implantflow {name} patient LPS mm")
    write_json(outputs["segment"], {"status": "done", **result.report})
