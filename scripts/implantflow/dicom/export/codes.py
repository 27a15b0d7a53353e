"""Coded concepts of the objects: (value, scheme, meaning).

Standard codes are those of DICOM PS3.16 (DCM, SCT, UCUM); where it has none, our own under a scheme whose name
begins with 99, as PS3.16 8.2 asks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

#: Name of the private coding scheme.
OWN_SCHEME = "99IMPLANTFLOW"


@dataclass(frozen=True)
class Concept:
    """One coded concept."""

    value: str
    scheme: str
    meaning: str

    def coded(self) -> Any:
        """As highdicom takes it."""
        from highdicom.sr.coding import CodedConcept

        return CodedConcept(self.value, self.scheme, self.meaning)


def own(value: str, meaning: str) -> Concept:
    """A concept of our own; DICOM allows a value of 16 characters and a meaning of 64."""
    assert len(value) <= 16 and len(meaning) <= 64, value
    return Concept(value, OWN_SCHEME, meaning)


ANATOMICAL_STRUCTURE = Concept("91723000", "SCT", "Anatomical structure")
ABNORMAL_STRUCTURE = Concept("49755003", "SCT", "Morphologically abnormal structure")
NEOPLASM = Concept("108369006", "SCT", "Neoplasm")
SACRUM = Concept("54735007", "SCT", "Sacrum")
BONE = Concept("272673000", "SCT", "Bone")
IMPLANT = Concept("40388003", "SCT", "Implant")
LEFT = Concept("7771000", "SCT", "Left")
RIGHT = Concept("24028007", "SCT", "Right")
SIDES = {"left": LEFT, "right": RIGHT}

#: Label of the segmentation -> what it is; the hip bone is coded as bone of the pelvis with its side.
BONES = {
    "sacrum": (SACRUM, None),
    "hip_left": (Concept("118645006", "SCT", "Pelvis"), LEFT),
    "hip_right": (Concept("118645006", "SCT", "Pelvis"), RIGHT),
    "l5": (Concept("49668003", "SCT", "L5 vertebra"), None),
    "l4_and_above": (Concept("51282000", "SCT", "Vertebra"), None),
    "femora": (Concept("71341001", "SCT", "Femur"), None),
    "coccyx": (Concept("64688005", "SCT", "Coccyx"), None),
    "other_bone": (BONE, None),
}

MM = Concept("mm", "UCUM", "mm")
MM3 = Concept("mm3", "UCUM", "mm3")
DEGREE = Concept("deg", "UCUM", "deg")
PERCENT = Concept("%", "UCUM", "%")
RATIO = Concept("1", "UCUM", "no units")
HOUNSFIELD = Concept("[hnsf'U]", "UCUM", "Hounsfield unit")

VOLUME = Concept("118565006", "SCT", "Volume")
VOLUME_BY_VOXELS = Concept("126030", "DCM", "Sum of segmented voxel method for volume")
LONG_AXIS = Concept("103339001", "SCT", "Long Axis")
SHORT_AXIS = Concept("103340004", "SCT", "Short Axis")
LINEAR_DISPLACEMENT = Concept("110856", "DCM", "Linear Displacement")
DISPLACEMENT_XYZ = tuple(
    Concept(value, "DCM", f"Spatial Displacement {axis} Component")
    for value, axis in (("110822", "X"), ("110823", "Y"), ("110824", "Z"))
)
RECIST_1_1 = Concept("126081", "DCM", "RECIST 1.1")
WHO = Concept("112029", "DCM", "WHO")
RESPONSES = {
    "CR": Concept("112041", "DCM", "Target Lesion Complete Response"),
    "PR": Concept("112042", "DCM", "Target Lesion Partial Response"),
    "SD": Concept("112044", "DCM", "Target Lesion Stable Disease"),
    "PD": Concept("112043", "DCM", "Target Lesion Progressive Disease"),
}
NOT_DETERMINABLE = Concept("114011", "DCM", "Value indeterminate")
CONTENT_BASED = Concept("125024", "DCM", "Image Content-based Alignment")
SAME_FRAME = Concept("125021", "DCM", "Frame of Reference Identity")
#: Kinds of algorithm (CID 7162): the bones' shape prior, the tumour's growth from a seed.
DEFORMABLE_MODELS = Concept("123111", "DCM", "Deformable Models")
NEIGHBOURHOOD = Concept("123101", "DCM", "Neighborhood Analysis")


def schemes() -> list[Any]:
    """The items that say whose the private scheme is."""
    from highdicom.coding_schemes import CodingSchemeIdentificationItem

    return [
        CodingSchemeIdentificationItem(OWN_SCHEME, name="implantflow", responsible_organization="implantflow")
    ]
