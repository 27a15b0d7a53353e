"""Which voxel belongs to which bone: distances to the fitted prior, then cuts where they do not decide."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from implantflow.geometry import FloatArray, Plane
from implantflow.segment.anatomy import Disc, disc_above, endplate_vertices, pelvic_axes
from implantflow.segment.cut import Prices, two_way_cut
from implantflow.segment.filters import resampled
from implantflow.segment.labels import (
    COCCYX,
    FEMORA,
    HIP_LEFT,
    HIP_RIGHT,
    L4_AND_ABOVE,
    L5,
    OTHER,
    SACRUM,
)
from implantflow.segment.masks import BoolArray, bodies, bounding_box
from implantflow.segment.mesh import signed_distance
from implantflow.segment.prior import ShapePrior
from implantflow.segment.strokes import Said
from implantflow.volumes import Volume

#: Distances to the fitted bones are exact up to here (mm).
FAR_MM = 16.0
#: Grid (mm) on which distances are computed before they are interpolated to the CT's voxels.
DISTANCE_GRID_MM = 2.0
#: Voxels nearer than this (mm) to a fitted bone may belong to it.
REACH_MM = 10.0
#: A body of bone this large (mm3) and this far (mm) outside a fitted hip is something else (femur, L5, hand).
FOREIGN_MM3, FOREIGN_MM = 1500.0, 6.0

#: Deeper than this (mm) inside a fitted bone is that bone: a fit drawn across a joint errs by gap and cortex.
DEEP_MM = 4.0

#: Half width of the lumbar spine over its transverse processes, and how far lordosis may carry it in front of
#: the centre of the S1 endplate (mm).
SPINE_HALF_WIDTH_MM, SPINE_FRONT_MM = 65.0, 60.0


#: L5 reaches no higher (mm) above the plane of the disc over it: the tips of its articular processes lie at 4 mm in the
#: two CTs at hand (Visible Human; totalseg-example-ct-metal). Higher up its neighbour's arch begins for sure.
L5_ABOVE_DISC_MM = 10.0
#: The arches of L4 and L5 meet here above the plane of the disc between their bodies, and overlap by so much (mm).
#: It has a small say, for slices too coarse to show the facets' gaps.
ARCHES_MEET_MM, ARCHES_OVERLAP_MM = -6.0, 12.0


@dataclass(frozen=True)
class Scene:
    """Everything the cuts look at, on one crop of the CT.

    Attributes
    ----------
    hu : crop of the CT, canonical axes.
    bone : (K, J, I) bool, at or above the threshold, or bright after light smoothing.
    distance : per bone of the prior (K, J, I) float32, mm to the fitted surface, negative inside.
    prices : what cutting costs.
    endplate : S1 endplate, normal cranial.
    """

    hu: Volume
    bone: BoolArray
    distance: dict[str, NDArray[np.float32]]
    prices: Prices
    endplate: Plane
    vertices_lps_mm: FloatArray
    prior: ShapePrior

    @cached_property
    def axes(self) -> FloatArray:
        """Left, posterior and cranial of the fitted bones: columns (3, 3), see :func:`pelvic_axes`."""
        return pelvic_axes(self.prior, self.vertices_lps_mm)

    def height(self, plane: Plane) -> NDArray[np.float32]:
        """Signed distance (mm) of every voxel centre to a plane, (K, J, I); 1 long along axes that change nothing."""
        affine = self.hu.affine_lps
        normal = np.asarray(plane.normal)
        step = normal @ affine[:3, :3]
        base = float(normal @ (affine[:3, 3] - np.asarray(plane.point)))
        sides = [n if abs(s) > 1e-9 else 1 for n, s in zip(self.hu.array.shape, step[::-1], strict=True)]
        k, j, i = (np.arange(n, dtype=np.float32) for n in sides)
        layer = base + step[1] * j[:, None] + step[0] * i
        return np.asarray(layer[None] + step[2] * k[:, None, None], dtype=np.float32)

    def coordinate(self, axis: int) -> NDArray[np.float32]:
        """Patient LPS coordinate (mm) of every voxel centre along one axis; its shape as that of :meth:`height`."""
        normal = np.zeros(3)
        normal[axis] = 1.0
        return self.height(Plane.of([0.0, 0.0, 0.0], normal))

    def along(self, direction: FloatArray, point: FloatArray) -> NDArray[np.float32]:
        """Distance (mm) of every voxel centre from a point along a unit vector; its shape as that of :meth:`height`."""
        return self.height(Plane.of(point, direction))


def distances(prior: ShapePrior, vertices: FloatArray, grid: Volume) -> dict[str, NDArray[np.float32]]:
    """Signed distances (mm) to every fitted bone at the voxels of ``grid``, clipped at FAR_MM."""
    size = np.array(grid.array.shape[::-1])
    corners = np.array([[i, j, k] for i in (0, size[0]) for j in (0, size[1]) for k in (0, size[2])]) - 0.5
    lps = grid.index_to_lps(corners)
    low, high = lps.min(axis=0) - DISTANCE_GRID_MM, lps.max(axis=0) + DISTANCE_GRID_MM
    shape = tuple(int(n) for n in np.ceil((high - low) / DISTANCE_GRID_MM).astype(int)[::-1] + 1)
    affine = np.diag([DISTANCE_GRID_MM] * 3 + [1.0])
    affine[:3, 3] = low
    coarse = Volume(np.empty(shape, np.uint8), affine)
    found = {}
    for n, name in enumerate(prior.names):
        field = signed_distance(vertices, prior.faces[n], coarse, FAR_MM)
        found[name] = resampled(coarse.like(field), grid.array.shape, grid.affine_lps, FAR_MM).array
    return found


def _sacrum_lean(scene: Scene, hips: NDArray[np.float32], above: NDArray[np.float32]) -> NDArray[np.float32]:
    """Distance to everything else less distance to the sacrum (mm): positive leans to the sacrum."""
    d = scene.distance
    sacrum = d["sacrum"]
    lean = hips - sacrum
    if "l5" in d:
        lean = np.minimum(lean, d["l5"] - sacrum, out=lean)
    else:
        _lean_without_l5(scene, lean, above, hips)
    if not scene.prior.covers_apex:
        below, across = _under_the_sacrum(scene)
        lean[below & (across < 50.0) & (hips > 5.0)] = 20.0
    return lean


def _under_the_sacrum(scene: Scene) -> tuple[BoolArray, NDArray[np.float32]]:
    """Voxels (K, J, I) caudal of the fitted sacrum, and how far (mm) each lies to the left or right of its middle."""
    own = scene.vertices_lps_mm[scene.prior.bone == scene.prior.index("sacrum")]
    left, _, up = scene.axes.T
    end = float(np.percentile(own @ up, 3)) + 4.0
    middle = float(np.median(own @ left))
    return scene.height(Plane.of(end * up, up)) < 0, np.abs(scene.height(Plane.of(middle * left, left)))


def _lean_without_l5(
    scene: Scene, lean: NDArray[np.float32], above: NDArray[np.float32], hips: NDArray[np.float32]
) -> None:
    """Into ``lean`` for an atlas without L5: what is outside the sacrum, above or behind its endplate, leans to L5."""
    outside = 1.0 - scene.distance["sacrum"]
    np.minimum(lean, outside, out=lean, where=above > 0)
    np.minimum(lean, 3.0 + outside, out=lean, where=(above > -15.0) & (above <= 0))
    plate = scene.vertices_lps_mm[endplate_vertices(scene.prior)]
    left, back, _ = scene.axes.T
    across = np.abs(scene.along(left, plate.mean(axis=0)))
    behind = scene.along(back, plate[(plate @ back).argmax()]) > -4.0
    facets = behind & (across < 38.0) & (above > -28.0) & (hips > 8.0)
    np.minimum(lean, outside, out=lean, where=facets)


@dataclass(frozen=True)
class Regions:
    """Result of the cuts.

    Attributes
    ----------
    region : (K, J, I) uint8, label that owns the voxel (bone or the inside of a fitted bone), 0 elsewhere.
    disputed : (K, J, I) bool, voxels that a cut decided.
    l4_l5_disc : the plane found between L5 and L4, None when L5 was told apart otherwise or not at all.
    """

    region: NDArray[np.uint8]
    disputed: BoolArray
    l4_l5_disc: Disc | None


def split_bones(scene: Scene, band_mm: float, said: Said | None = None) -> Regions:
    """Give every bone voxel of the scene to one bone; where a person said which, to that one."""
    said = said or Said(np.zeros(scene.bone.shape, np.uint8), np.zeros(scene.bone.shape, bool))
    d = scene.distance
    hips = np.minimum(d["hip_left"], d["hip_right"])
    others = np.minimum(hips, d["l5"]) if "l5" in d else hips
    above = scene.height(scene.endplate)
    lean = _sacrum_lean(scene, hips, above)
    nearest = np.minimum(others, d["sacrum"])
    reach = (nearest < REACH_MM) | (lean >= 20.0)
    if "l5" not in d:
        reach |= (above > -15.0) & (d["sacrum"] < FAR_MM - 1.0)
    domain = ((reach | said.near) & (scene.bone | (nearest < 0))) | (said.codes > 0)
    lean = said.steer(lean, band_mm, (SACRUM, COCCYX), domain)
    sacrum = two_way_cut(domain, lean, band_mm, scene.prices)
    disputed = domain & (np.abs(lean) < band_mm)
    region = np.zeros(domain.shape, dtype=np.uint8)
    region[sacrum] = SACRUM
    free = (scene.bone | (others < 0) | (said.codes > 0)) & ~sacrum
    hip, contested = _cut_hips(scene, free, hips, said)
    disputed |= contested
    region[hip & (d["hip_left"] <= d["hip_right"])] = HIP_LEFT
    region[hip & (d["hip_left"] > d["hip_right"])] = HIP_RIGHT
    spine = free & ~hip & (above > -30.0) & _spinal_column(scene)
    disc, contested = _cut_spine(scene, spine, above, region, said)
    disputed |= contested
    if scene.prior.covers_apex:
        disputed |= _cut_coccyx(scene, region, said)
    rest = (region == 0) & scene.bone
    region[rest] = OTHER
    _name_femora(scene, region, hips)
    region[said.codes > 0] = said.codes[said.codes > 0]
    return Regions(region, disputed, disc)


def _large_bodies(mask: BoolArray, voxels: float) -> BoolArray:
    """Bodies of ``mask`` with at least so many voxels."""
    out = np.zeros_like(mask)
    if mask.any():
        box = bounding_box(mask, 0)
        numbers, sizes = bodies(mask[box.slices])
        keep = sizes >= voxels
        keep[0] = False
        out[box.slices] = keep[numbers]
    return out


def _cut_hips(
    scene: Scene, free: BoolArray, hips: NDArray[np.float32], said: Said
) -> tuple[BoolArray, BoolArray]:
    """Part of ``free`` that is hip: cut off femora, L5 and hands, keep what the prior merely missed."""
    foreign = free & (hips > FOREIGN_MM / 2)
    foreign = _large_bodies(foreign, FOREIGN_MM3 / scene.hu.voxel_volume_mm3) & (hips > FOREIGN_MM)
    foreign &= ~_below_the_prior(scene, hips)
    lean = np.zeros(free.shape, dtype=np.float32)
    lean[free & (hips < -DEEP_MM)] = 2.0
    lean[foreign] = -2.0
    domain = free & ((hips < FAR_MM) | said.near)
    lean = said.steer(lean, 1.0, (HIP_LEFT, HIP_RIGHT), domain)
    near = two_way_cut(domain, lean, 1.0, scene.prices)
    hip = near & _touching(near, free & (hips < 0))
    return hip, domain & (np.abs(lean) < 1.0) & (hips > 0)


def _below_the_prior(scene: Scene, hips: NDArray[np.float32]) -> BoolArray:
    """Columns under the lower ends of the fitted hips, where a template cut off by its own scan knows nothing."""
    own = scene.vertices_lps_mm[scene.prior.bone < 2]
    end_mm = float(own[:, 2].min())
    index = scene.hu.lps_to_index(np.array([[own[0, 0], own[0, 1], end_mm + 4.0]]))[0, 2]
    k = int(np.clip(np.round(index), 0, hips.shape[0] - 1))
    below = np.zeros(hips.shape, dtype=bool)
    below[:k] = hips[k] < 3.0
    return below


def _touching(mask: BoolArray, seeds: BoolArray) -> BoolArray:
    """Bodies of ``mask`` that hold a seed."""
    out = np.zeros_like(mask)
    if mask.any():
        box = bounding_box(mask, 0)
        numbers, sizes = bodies(mask[box.slices])
        keep = np.zeros(len(sizes), dtype=bool)
        keep[numbers[seeds[box.slices]]] = True
        keep[0] = False
        out[box.slices] = keep[numbers]
    return out


def _spinal_column(scene: Scene) -> BoolArray:
    """Where lumbar vertebrae may lie: beside and behind the S1 endplate, hands and forearms left out."""
    left, back, _ = scene.axes.T
    point = np.asarray(scene.endplate.point)
    across = np.abs(scene.along(left, point)) < SPINE_HALF_WIDTH_MM
    return np.asarray(across & (scene.along(back, point) > -SPINE_FRONT_MM))


def _cut_spine(
    scene: Scene, spine: BoolArray, above: NDArray[np.float32], region: NDArray[np.uint8], said: Said
) -> tuple[Disc | None, BoolArray]:
    """Write L5 and L4_AND_ABOVE into ``region``; returns the disc used and the disputed voxels."""
    lean = np.zeros(spine.shape, dtype=np.float32)
    disc = None
    if "l5" in scene.distance:
        d = scene.distance["l5"]
        foreign = _large_bodies(spine & (d > FOREIGN_MM / 2), FOREIGN_MM3 / scene.hu.voxel_volume_mm3)
        lean[spine & (d < -DEEP_MM)] = 2.0
        lean[foreign & (d > FOREIGN_MM) & (above > 0)] = -2.0
    else:
        disc = disc_above(scene.hu, scene.endplate)
        if disc is None:
            body = _large_bodies(spine & (above > 0), FOREIGN_MM3 / scene.hu.voxel_volume_mm3)
            region[body] = L5
            return None, np.zeros_like(spine)
        upper = scene.height(disc.plane)
        centre = (np.asarray(disc.plane.point) + np.asarray(scene.endplate.point)) / 2
        plate = scene.vertices_lps_mm[endplate_vertices(scene.prior)]
        left, back, _ = scene.axes.T
        core = np.abs(scene.along(left, centre)) < 16.0
        behind = scene.along(back, plate[(plate @ back).argmax()]) >= 0.0
        core = core & ~behind
        arch = np.clip((ARCHES_MEET_MM - upper) / ARCHES_OVERLAP_MM, -0.9, 0.9)
        np.copyto(lean, arch, where=spine & behind)
        lean[spine & core & (upper < -4.0) & (above > 4.0)] = 2.0
        lean[spine & ((core & (upper > 3.0)) | (upper > L5_ABOVE_DISC_MM))] = -2.0
    lean = said.steer(lean, 1.0, (L5,), spine)
    low = two_way_cut(spine, lean, 1.0, scene.prices)
    low &= _touching(low, lean > 1.0)
    high = spine & ~low & _touching(spine & ~low, lean < -1.0)
    region[low] = L5
    region[high] = L4_AND_ABOVE
    return disc, spine & (np.abs(lean) < 1.0)


def _cut_coccyx(scene: Scene, region: NDArray[np.uint8], said: Said) -> BoolArray:
    """Take the coccyx off the sacrum (and off loose bone below it) where the prior shows the apex."""
    d = scene.distance["sacrum"]
    own = scene.vertices_lps_mm[scene.prior.bone == scene.prior.index("sacrum")]
    apex = own[own[:, 2].argmin()]
    below = scene.coordinate(2) < np.float32(apex[2] + 6.0)
    near = (np.abs(scene.coordinate(0) - np.float32(apex[0])) < 25.0) & (
        np.abs(scene.coordinate(1) - np.float32(apex[1])) < 45.0
    )
    domain = (region == SACRUM) | (scene.bone & (region == 0) & below & near)
    lean = np.zeros(domain.shape, dtype=np.float32)
    lean[domain & ((d < -1.0) | ~below)] = 2.0
    lean[domain & below & near & (d > 5.0)] = -2.0
    lean = said.steer(lean, 1.0, (SACRUM,), domain)
    sacrum = two_way_cut(domain, lean, 1.0, scene.prices)
    coccyx = domain & ~sacrum & near
    region[domain & sacrum] = SACRUM
    region[coccyx] = COCCYX
    return np.asarray(domain & (np.abs(lean) < 1.0))


def _name_femora(scene: Scene, region: NDArray[np.uint8], hips: NDArray[np.float32]) -> None:
    """Loose bone whose body comes within 12 mm of the lower half of a hip, and lies lateral, is a femur."""
    own = scene.vertices_lps_mm[scene.prior.bone < 2]
    middle = float(np.median(own[:, 0]))
    low = float(own[:, 2].min() + 0.5 * (own[:, 2].max() - own[:, 2].min()))
    loose = region == OTHER
    numbers, sizes = bodies(loose)
    near = np.zeros(len(sizes), dtype=bool)
    near[numbers[loose & (hips < 5.0)]] = True
    for body in np.flatnonzero(near & (sizes * scene.hu.voxel_volume_mm3 >= FOREIGN_MM3)):
        own_body = numbers == body
        where = np.argwhere(own_body)[:, ::-1]
        centre = scene.hu.index_to_lps(where.mean(axis=0)[None])[0]
        if centre[2] < low and abs(centre[0] - middle) > 40.0:
            region[own_body] = FEMORA
