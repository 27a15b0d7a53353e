"""What is to be built: an outer solid, what of it is dense, and the lattice that fills the rest."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from implantflow.build.plan import DenseGrid
from implantflow.build.scale import Scale
from implantflow.config.build import Machine
from implantflow.errors import GeometryError
from implantflow.field.field import DISTANCE_STEP_MM, Field
from implantflow.field.material import Material
from implantflow.field.volume import mesh_volume_mm3, volumes_of
from implantflow.geometry import FloatArray

#: Depth under the skin at which a face is asked what it bounds (mm): two layers.
BEHIND_MM = 0.1


@dataclass(frozen=True)
class Part:
    """What is to be built: outer solid as drawn in build_xyz, dense region, lattice (cell, cell_mm, strut_mm).

    The outer solid carries the machining stock, where the implant has any.

    ``sampled`` is what fills the solid, as drawn, where that is more than one periodic cell beside dense metal.
    """

    vertices_mm: FloatArray
    faces: NDArray[np.int64] | NDArray[np.int32]
    dense: DenseGrid | None
    lattice: tuple[str, float, float] | None
    sampled: Material | None = None

    @classmethod
    def of_field(cls, field: Field, scale: Scale, machine: Machine) -> Part:
        """The field's part as a build draws it; the lattice keeps its cell whatever the scale.

        Its struts are drawn thinner by what the machine prints them thicker.

        Raises
        ------
        GeometryError
            Nothing but a line would be left of a strut.
        """
        growth_mm = machine.strut_growth_mm
        strut_mm = round(field.strut_mm - growth_mm, 6)
        thinnest_mm = field.lattice.strut_range_mm[0]
        if growth_mm > 0 and round(thinnest_mm - growth_mm, 6) < machine.net.offset_mm:
            raise GeometryError(
                f"a strut of {thinnest_mm:g} mm that prints {growth_mm:g} mm thicker would be drawn "
                f"thinner than one line of {machine.net.offset_mm:g} mm",
                where="build.machine: strut_growth_mm",
                fix="choose a thicker strut, or measure the growth again",
            )
        dense = DenseGrid(field.dense, field.origin_mm, field.spacing_mm, scale)
        lattice = (field.cell, field.cell_mm, strut_mm)
        sampled = None
        if not field.material.stampable:
            grade = None
            if field.grade is not None:
                grade = (field.grade - round(growth_mm / DISTANCE_STEP_MM)).astype(np.int16)
            # A scaled grid is a grid again; its values stay the design's.
            drawn = replace(field, strut_mm=strut_mm, grade=grade)
            sampled = drawn.material_drawn(
                scale.drawn(field.origin_mm[None])[0], field.spacing_mm * np.asarray(scale.factors)
            )
        vertices_mm, faces = field.printed
        return cls(scale.drawn(vertices_mm), faces, dense, lattice, sampled)

    def dense_faces(self, field: Field) -> NDArray[np.bool_]:
        """(faces,) does full metal lie behind the face?"""
        corners = self.vertices_mm[self.faces]
        normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        normal /= np.maximum(np.linalg.norm(normal, axis=1), 1e-30)[:, None]
        places = corners.mean(axis=1) - BEHIND_MM * normal
        if self.dense is not None:
            places = self.dense.scale.designed(places)
        return np.asarray(field.dense_value(places) < 0.0)

    @property
    def strut_mm(self) -> float | None:
        """Diameter of the struts as drawn; None for full metal."""
        return None if self.lattice is None else self.lattice[2]

    @property
    def box_mm(self) -> FloatArray:
        """(2, 3) lowest and highest corner."""
        return np.array([self.vertices_mm.min(0), self.vertices_mm.max(0)])

    def material_mm3(self) -> float:
        """Volume of metal by sampling the field itself, independent of the slicer."""
        solid_mm3 = mesh_volume_mm3(self.vertices_mm, self.faces)
        if self.lattice is None:
            return solid_mm3
        faces = self.faces.astype(np.int64)
        if self.sampled is not None:
            return volumes_of(self.vertices_mm, faces, solid_mm3, self.sampled).material_mm3
        dense = None
        if self.dense is not None:
            scale = self.dense.scale
            # A scaled grid is a grid again; its values stay the design's distances, but their sign is right.
            origin = scale.drawn(self.dense.origin_mm[None])[0]
            dense = (self.dense.grid, origin, self.dense.spacing_mm * scale.factors)
        return volumes_of(self.vertices_mm, faces, solid_mm3, dense, self.lattice).material_mm3
