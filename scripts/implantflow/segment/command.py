"""``python -m implantflow segment``: the stage's work on one volume file, without a case."""

from __future__ import annotations

import contextlib
from pathlib import Path

from implantflow.artifacts import temporary
from implantflow.config.segment import PriorConfig, SegmentConfig
from implantflow.errors import ConfigError, InputError
from implantflow.segment.core import SURFACED, segment_volume
from implantflow.segment.landmarks import read_points
from implantflow.segment.stage import check_modality, read_prior, write_results
from implantflow.volumes import read_volume

#: Where the rule make_template leaves the project's template, from the repository's root.
TEMPLATE = Path("data/template/template.npz")


def segment_file(
    volume: Path,
    out: Path,
    threshold_hu: float,
    *,
    atlas: Path | None = None,
    landmarks: Path | None = None,
    labels: Path | None = None,
    template: Path = TEMPLATE,
) -> list[Path]:
    """Segment one CT file with the stage's own defaults.

    Parameters
    ----------
    volume : NIfTI (or any file ITK reads) in HU.
    out : folder for ``labels.nii.gz``, ``<bone>.stl`` and ``segment.json``.
    threshold_hu : voxels at or above count as bone.
    atlas : folder of the pelvis atlas; or
    landmarks : JSON (name -> LPS mm, or 3D Slicer markups) that poses ``template``; or
    labels : label map of another program, only checked and surfaced.

    Returns
    -------
    Paths written.

    Raises
    ------
    ConfigError, InputError
        A threshold outside 100 to 500 HU, neither or both priors, missing files, or any refusal of the stage.
    """
    settings = settings_of(volume, threshold_hu, atlas=atlas, landmarks=landmarks, labels=labels)
    points = None
    if labels is not None:
        files = [labels]
    elif atlas is not None:
        files = _atlas_files(atlas)
    else:
        if not template.exists():
            raise InputError(
                "the project's template has not been made yet",
                where=str(template),
                fix=f"run: snakemake --cores 1 {TEMPLATE}",
            )
        files = [template]
        points = read_points(Path(str(landmarks)))
    image = read_volume(volume)
    check_modality("CT", image, settings)
    result = segment_volume(image, read_prior(settings.prior.kind, files), settings, points)
    outputs = {name: out / f"{name}.stl" for name in SURFACED}
    outputs |= {"labels": out / "labels.nii.gz", "confidence": out / "confidence.nii.gz"}
    outputs |= {"segment": out / "segment.json"}
    with contextlib.ExitStack() as drafts:  # all of them or none
        write_results(result, {name: drafts.enter_context(temporary(path)) for name, path in outputs.items()})
    return list(outputs.values())


def settings_of(
    volume: Path,
    threshold_hu: float,
    *,
    atlas: Path | None = None,
    landmarks: Path | None = None,
    labels: Path | None = None,
) -> SegmentConfig:
    """The stage's settings for what was given; what is wrong with it is refused before anything takes time.

    Raises
    ------
    ConfigError, InputError
        A threshold outside its limits, not one prior, or a file that is missing; landmarks that cannot be read.
    """
    if [atlas, landmarks, labels].count(None) != 2:
        raise InputError(
            "give either --atlas or --landmarks or --labels: one prior, posed in one way",
            where="command line",
            fix="--atlas FOLDER searches the pose by itself; --landmarks FILE poses the project's template; "
            "--labels FILE surfaces bones labelled elsewhere",
        )
    if not volume.is_file():
        raise InputError(
            "there is no such volume", where=str(volume), fix="give the volume.nii.gz that `ingest` wrote"
        )
    if labels is not None and not labels.is_file():
        raise InputError(
            "there is no such label map", where=str(labels), fix="give the file that --labels means"
        )
    if landmarks is not None:
        if not landmarks.is_file():
            raise InputError(
                "there is no such file of landmarks",
                where=str(landmarks),
                fix="give --landmarks a JSON file: 3D Slicer markups, or name -> [x, y, z] in patient LPS mm",
            )
        read_points(landmarks)
        return _settings(threshold_hu, PriorConfig(kind="template", landmarks_file=str(landmarks)))
    if atlas is not None:
        _atlas_files(atlas)
        return _settings(threshold_hu, PriorConfig(kind="atlas", path=str(atlas)))
    return _settings(threshold_hu, PriorConfig(kind="label_map", path=str(labels)))


def _atlas_files(atlas: Path) -> list[Path]:
    files = sorted(atlas.rglob("*.vtk"))
    if not files:
        raise InputError(
            "the folder holds no atlas (.vtk files)" if atlas.is_dir() else "there is no such atlas folder",
            where=str(atlas),
            fix="give --atlas the folder of the pelvis atlas, or pose the project's template with --landmarks FILE",
        )
    return files


def _settings(threshold_hu: float, prior: PriorConfig) -> SegmentConfig:
    from pydantic import ValidationError

    try:
        return SegmentConfig(threshold_hu=threshold_hu, prior=prior)
    except ValidationError as error:
        raise ConfigError(
            f"threshold {threshold_hu:g} HU is not accepted: {error.errors()[0]['msg']}",
            where="--threshold",
            fix="use 100 to 500 HU; 226 HU is the usual lower limit of bone",
        ) from error
