"""The tumour's figures as groups of a structured report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from implantflow.dicom.export import codes
from implantflow.dicom.export.codes import own
from implantflow.dicom.export.report import Figure, Group
from implantflow.dicom.export.segmentation import Written

CRANIOCAUDAL = own("cc_extent", "Craniocaudal extent")
BOUNDARY_UNCERTAINTY = own("volume_doubt", "Volume uncertainty from the boundary")
VOLUME_CHANGE = own("volume_change", "Change of volume")
RECIST_CHANGE = own("recist_change", "Change of long axis")
WHO_CHANGE = own("who_change", "Change of product of long and short axis")


def tumour_groups(
    record: Mapping[str, Any], side: str, written: Written, labels: Sequence[str]
) -> list[Group]:
    """One group per time point; the last one also says how the tumour responded.

    Parameters
    ----------
    record : ``tumour.json``
    side : ``left`` or ``right``
    written, labels : the segmentation of the tumour and the label of each time point in it
    """
    groups = []
    for timepoint, label in zip(record["timepoints"], labels, strict=True):
        long_axis, short_axis, craniocaudal = timepoint["axes_mm"]
        figures = [
            Figure(codes.VOLUME, timepoint["volume_mm3"], codes.MM3, codes.VOLUME_BY_VOXELS),
            Figure(BOUNDARY_UNCERTAINTY, timepoint["boundary_uncertainty_mm3"], codes.MM3),
            Figure(codes.LONG_AXIS, long_axis, codes.MM),
            Figure(codes.SHORT_AXIS, short_axis, codes.MM),
            Figure(CRANIOCAUDAL, craniocaudal, codes.MM),
        ]
        gradings: list[tuple[codes.Concept, codes.Concept]] = []
        response = record["response"]
        if response.get("to") == timepoint["name"]:
            figures += [
                Figure(VOLUME_CHANGE, response["volume_change_pct"], codes.PERCENT),
                Figure(RECIST_CHANGE, response["recist_change_pct"], codes.PERCENT),
                Figure(WHO_CHANGE, response["who_change_pct"], codes.PERCENT),
            ]
            gradings = [
                (criteria, codes.RESPONSES[response[key]])
                for key, criteria in (("recist", codes.RECIST_1_1), ("who", codes.WHO))
                if response[key] in codes.RESPONSES
            ]
        groups.append(
            Group(
                label="virtual tumour" if timepoint["virtual"] else "tumour",
                timepoint=str(timepoint["name"]),
                finding=codes.NEOPLASM,
                site=codes.SACRUM,
                side=codes.SIDES[side],
                figures=figures,
                gradings=gradings,
                segment=(written, label),
            )
        )
    return groups
