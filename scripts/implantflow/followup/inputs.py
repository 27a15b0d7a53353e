"""What every reading needs: the design, the bones as planned, the planning CT."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from implantflow.artifacts import read_json, read_stl, sha256_file
from implantflow.errors import ProvenanceError
from implantflow.field.field import Field
from implantflow.followup.design import Depths
from implantflow.followup.hardware import way_to_bone
from implantflow.geometry import FloatArray
from implantflow.jobs import Job
from implantflow.solids.distance import Surface
from implantflow.solids.mesh import Solid
from implantflow.volumes import Volume, read_volume


@dataclass(frozen=True)
class Inputs:
    """Read once, used by every step.

    Attributes
    ----------
    implant : Solid, planned patient LPS. digest : sha256 of its file.
    regions, plan : as the stages wrote them.
    depths : distances inside the implant.
    bones : neighbour's name -> its surface as planned.
    planning, labels : Volume on one grid.
    """

    implant: Solid
    digest: str
    regions: Mapping[str, Any]
    plan: Mapping[str, Any]
    depths: Depths
    bones: Mapping[str, Surface]
    planning: Volume
    labels: Volume

    @property
    def field(self) -> Field:
        """The field."""
        return self.depths.field

    @property
    def centroid_mm(self) -> FloatArray:
        """(3,) centroid of the implant's volume as planned."""
        a, b, c = (self.implant.triangles_mm[:, n] for n in range(3))
        six_volumes = np.einsum("ij,ij->i", a, np.cross(b, c))
        return np.asarray((six_volumes[:, None] * (a + b + c)).sum(axis=0) / (4.0 * six_volumes.sum()))

    @cached_property
    def surface_lps(self) -> FloatArray:
        """(N, 3) some two thousand points of the surface as planned."""
        return self.implant.vertices[:: max(1, len(self.implant.vertices) // 2000)]

    @cached_property
    def way_to_bone(self) -> Volume:
        """Distance in mm to bone that stays, around the implant as planned."""
        return way_to_bone(self.labels, self.plan, self.centroid_mm, self.surface_lps, 15.0)

    @classmethod
    def of(cls, job: Job) -> Inputs:
        """Read the job's inputs.

        Raises
        ------
        ProvenanceError
            The regions or the field belong to another implant.
        """
        path = job.input("implant")
        digest = sha256_file(path)
        regions = read_json(job.input("regions"))
        if regions.get("implant_stl_sha256") != digest:
            raise ProvenanceError(
                "regions.json belongs to another implant.stl",
                where=str(job.input("regions")),
                fix="run the implant stage again",
            )
        bones = {name: Surface(Solid.of(*read_stl(job.input(name)))) for name in ("remaining_bone", "hip")}
        return cls(
            Solid.of(*read_stl(path)),
            digest,
            regions,
            read_json(job.input("plan")),
            Depths(Field.load(job.input("field"), job.input("field_data"))),
            bones,
            read_volume(job.input("planning_ct")),
            read_volume(job.input("labels")),
        )
