"""The implant under load: the equations, with its contact faces loaded and held."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from implantflow.config.strength import StrengthConfig
from implantflow.errors import GeometryError, InputError
from implantflow.field.field import Field
from implantflow.geometry import FloatArray, unit
from implantflow.strength import faces
from implantflow.strength.construct import Assembly, assemble
from implantflow.strength.faces import Contact
from implantflow.strength.lattice_cell import LatticeCell
from implantflow.strength.mesh import Mesh, build_mesh, largest_part
from implantflow.strength.parts import Parts
from implantflow.strength.rods import Rods
from implantflow.strength.solver import Model

#: A voxel with a smaller share of the implant than this is no element: it would carry next to nothing and
#: spoil the equations.
LEAST_SHARE = 0.05

#: Dropped islands larger than this share of the implant are an error, not voxel dust.
ISLAND_LIMIT = 0.01


@dataclass(frozen=True)
class ImplantModel:
    """Equations of the implant on one grid.

    Attributes
    ----------
    model : Model
        Materials: 0 the solid metal, 1 the homogenised lattice (both in the field's frame).
    dense, porous, density : (E,) arrays
        Shares of each element's volume, and metal share of its lattice.
    load : Contact
    supports : list of (Contact, bed stiffness in N/mm3)
    judged : (E,) bool array
        False in the layers beside loaded and supported faces.
    facts : dict
        Counts for the report.
    assembly : Assembly or None
        Rods and screws that share the load.
    """

    model: Model
    dense: FloatArray
    porous: FloatArray
    density: FloatArray
    load: Contact
    supports: list[tuple[Contact, float]]
    judged: NDArray[np.bool_]
    facts: dict[str, Any]
    assembly: Assembly | None = None


def build_model(
    field: Field,
    regions: Mapping[str, Any],
    parts: Parts,
    cell: LatticeCell,
    config: StrengthConfig,
    rods: Rods | None = None,
) -> ImplantModel:
    """Set up the equations.

    Parameters
    ----------
    field : Field
        Gives the implant's surface; the model lives in its frame.
    regions : content of ``regions.json``.
    parts : Parts
        The field cut into voxels.
    cell : LatticeCell
    config : StrengthConfig
    rods : Rods, optional
        Given, they and their screws share the load.

    Raises
    ------
    InputError
        A screw in the implant has no hole there, or a face that the config names is not in the regions.
    GeometryError
        The implant falls apart at this voxel size, or a face is off the mesh.
    """
    stiff = parts.dense + parts.porous * cell.density_factor(parts.density)
    active = (parts.solid >= LEAST_SHARE) & (stiff > 0)
    kept, islands = largest_part(active)
    lost = float(parts.solid[active & ~kept].sum() / parts.solid.sum())
    if lost > ISLAND_LIMIT:
        raise GeometryError(
            f"at {parts.grid.voxel_mm} mm voxels {100 * lost:.1f} % of the implant is not joined to the rest",
            where="strength.voxel_mm",
            fix="use smaller voxels, or check the implant for loose pieces",
        )
    mesh = build_mesh(parts.grid, kept)
    dense, porous, density = (mesh.pick(a) for a in (parts.dense, parts.porous, parts.density))
    load = _contact(field, regions, mesh, config.load_face)
    supports = [(_contact(field, regions, mesh, s.face), s.bed_n_per_mm3) for s in config.supports]
    springs = np.zeros((len(mesh.points), 3))
    for contact, bed in supports:
        springs += contact.spread(mesh, np.repeat((bed * contact.areas)[:, None], 3, axis=1))
    scales = np.stack([dense, porous * cell.density_factor(density)])
    model = Model.of(mesh, [cell.metal, cell.elasticity], scales, springs.ravel())
    assembly = None
    if rods is not None:
        assembly = assemble(field, regions, rods, mesh, load, config)
    contacts = [load, *[c for c, _ in supports], *(assembly.ports[1:] if assembly else [])]
    # The same depth on any grid, so that grids can be compared.
    layers = math.ceil(config.exclude_elements * config.voxel_mm / parts.grid.voxel_mm - 1e-9)
    judged = _away_from(mesh.voxels, parts.grid.shape, contacts, layers)
    volume = parts.grid.voxel_mm**3
    facts = {
        "elements": len(mesh.voxels),
        "degrees_of_freedom": 3 * len(mesh.points),
        "voxel_mm": parts.grid.voxel_mm,
        "solid_volume_mm3": float(parts.solid.sum()) * volume,
        "dense_volume_mm3": float(parts.dense.sum()) * volume,
        "thin_voxels_left_out_pct": 100.0 * float(parts.solid[~active].sum() / parts.solid.sum()),
        "islands_left_out": islands,
        "islands_left_out_pct": 100.0 * lost,
        "elements_not_judged": int((~judged).sum()),
        "face_to_mesh_max_mm": max(c.farthest_mm for c in contacts),
    }
    return ImplantModel(model, dense, porous, density, load, supports, judged, facts, assembly)


def _contact(field: Field, regions: Mapping[str, Any], mesh: Mesh, name: str) -> Contact:
    known = {str(face["name"]): face for face in regions.get("contact_faces", [])}
    ids = np.asarray(known[name]["triangles"] if name in known else [], dtype=np.int64)
    if len(ids) == 0:
        raise InputError(
            f"the implant has no contact face '{name}' to load or support; it has: {', '.join(known) or 'none'}",
            where="strength.load_face, strength.supports; regions.json",
            fix="name a face that the implant has",
        )
    if ids.min() < 0 or ids.max() >= len(field.faces):
        raise InputError(
            f"contact face '{name}' names triangles that the implant does not have",
            where="regions.json",
            fix="run the implant stage again: implant.stl and regions.json belong together",
        )
    points, areas = faces.sample_triangles(field.vertices_mm, field.faces[ids], mesh.grid.voxel_mm)
    return faces.attach(mesh, name, points, areas)


def _away_from(
    voxels: NDArray[np.int64], shape: tuple[int, int, int], contacts: list[Contact], layers: int
) -> NDArray[np.bool_]:
    from scipy import ndimage

    near = np.zeros(int(np.prod(shape)), dtype=bool)
    for contact in contacts:
        near[voxels[contact.elements]] = True
    if layers == 0:
        return np.ones(len(voxels), dtype=bool)
    # The element that holds the face is the first layer.
    cube = np.ones((2 * layers - 1,) * 3, dtype=bool)
    grown = ndimage.binary_dilation(near.reshape(shape), structure=cube)
    return np.asarray(~grown.ravel()[voxels])


def unit_force(setup: ImplantModel, direction: FloatArray, contact: Contact | None = None) -> FloatArray:
    """(3 N,) nodal forces of 1 N in ``direction`` (3,), spread evenly over the load face or another contact."""
    contact = contact or setup.load
    traction = contact.areas[:, None] / contact.areas.sum() * unit(direction)
    return contact.spread(setup.model.mesh, traction).ravel()
