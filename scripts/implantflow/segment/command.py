"""``python -m implantflow segment``: the stage's work on one volume file, without a case."""

from __future__ import annotations

from pathlib import Path

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
    if [atlas, landmarks, labels].count(None) != 2:
        raise InputError(
            "give either --atlas or --landmarks or --labels: one prior, posed in one way",
            where="command line",
            fix="--atlas FOLDER searches the pose by itself; --landmarks FILE poses the project's template; "
            "--labels FILE surfaces bones labelled elsewhere",
        )
    points = None
    if labels is not None:
        prior_config = PriorConfig(kind="label_map", path=str(labels))
        files = [labels]
    elif atlas is not None:
        prior_config = PriorConfig(kind="atlas", path=str(atlas))
        files = sorted(atlas.rglob("*.vtk"))
    else:
        if not template.exists():
            raise InputError(
                "the project's template has not been made yet",
                where=str(template),
                fix=f"run: snakemake --cores 1 {TEMPLATE}",
            )
        prior_config = PriorConfig(kind="template", landmarks_file=str(landmarks))
        files = [template]
        points = read_points(Path(str(landmarks)))
    settings = _settings(threshold_hu, prior_config)
    image = read_volume(volume)
    check_modality("CT", image, settings)
    result = segment_volume(image, read_prior(prior_config.kind, files), settings, points)
    out.mkdir(parents=True, exist_ok=True)
    outputs = {name: out / f"{name}.stl" for name in SURFACED}
    outputs |= {"labels": out / "labels.nii.gz", "confidence": out / "confidence.nii.gz"}
    outputs |= {"segment": out / "segment.json"}
    write_results(result, outputs)
    return list(outputs.values())


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
