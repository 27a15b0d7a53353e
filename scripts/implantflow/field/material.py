"""What fills the solid, at points and on layers: one evaluator for slicer, measures, simulation and preview."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from implantflow.errors import GeometryError
from implantflow.field.lattice import Lattice
from implantflow.geometry import FloatArray

if TYPE_CHECKING:
    from implantflow.field.material_kernels import MaterialArrays

#: Plane waves that make up a texture.
_WAVES = 24

IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Texture:
    """A rugged surface: largest shift either way, length of its waves (mm), which of the patterns.

    On the outer surface it only takes away, so that a rugged face never reaches into the bone beside it.
    """

    amplitude_mm: float
    wavelength_mm: float
    seed: int

    def waves(self) -> FloatArray:
        """(W, 4) wave vectors in 1/mm and phases, in directions spread over the sphere and turned by the seed."""
        from scipy.spatial.transform import Rotation

        random = np.random.default_rng(self.seed)
        n = np.arange(_WAVES) + 0.5
        height, turn = 1.0 - n / _WAVES, np.pi * (1.0 + 5.0**0.5) * n
        ring = np.sqrt(1.0 - height**2)
        spread = np.column_stack([ring * np.cos(turn), ring * np.sin(turn), height])
        directions = Rotation.random(random_state=random).apply(spread)
        phases = random.uniform(0.0, 2.0 * np.pi, _WAVES)
        return np.column_stack([directions * (2.0 * np.pi / self.wavelength_mm), phases])


@dataclass(frozen=True)
class Material:
    """Everything inside the outer surface, which itself is the mesh: the part is metal where both are.

    Attributes
    ----------
    lattice : the lattice that fills what is not dense.
    origin_mm, spacing_mm (3,) : of the grids. dense : (K, J, I) int16 distances in 0.1 um, None where nothing is.
    fillet_mm : radius of the corner between lattice and dense metal.
    texture : None for smooth surfaces; else ``solid`` (distances to the outer surface) and ``rough`` (share of the
        texture, 0 to 1 in steps of 1e-4) are grids like ``dense``.
    """

    lattice: Lattice
    origin_mm: FloatArray
    spacing_mm: FloatArray
    dense: NDArray[np.int16] | None = None
    fillet_mm: float = 0.0
    texture: Texture | None = None
    solid: NDArray[np.int16] | None = None
    rough: NDArray[np.int16] | None = None

    @property
    def by_signs(self) -> bool:
        """Does the sign of each part alone tell where metal is? Fillets and textures ask for their values."""
        return self.fillet_mm == 0.0 and self.texture is None

    @property
    def stampable(self) -> bool:
        """Are the contours inside the solid those of the dense grid and of one periodic cell, and nothing else?"""
        return self.lattice.periodic and self.by_signs

    def __post_init__(self) -> None:
        if self.texture is not None and (self.solid is None or self.rough is None):
            raise GeometryError(
                "a texture needs the grids that say where it lies", fix="make the field again"
            )

    @cached_property
    def arrays(self) -> MaterialArrays:
        """The grids as the kernels take them."""
        from implantflow.field.material_kernels import MaterialArrays

        nothing = np.zeros((0, 1, 1), dtype=np.int16)
        return MaterialArrays(
            np.asarray(self.origin_mm, dtype=np.float64),
            np.asarray(self.spacing_mm, dtype=np.float64),
            nothing if self.dense is None else self.dense,
            nothing if self.texture is None or self.solid is None else self.solid,
            nothing if self.texture is None or self.rough is None else self.rough,
            self.texture.waves() if self.texture is not None else np.zeros((1, 4)),
            self.texture.amplitude_mm if self.texture is not None else 0.0,
            float(self.fillet_mm),
        )

    def value(self, points_mm: ArrayLike) -> FloatArray:
        """(N,) value in mm at (N, 3) points in build_xyz, negative inside metal; the outer surface is not in it."""
        from implantflow.field import material_kernels

        points = np.ascontiguousarray(points_mm, dtype=np.float64)
        out = np.empty(len(points))
        material_kernels.material_values(self.lattice.arrays, self.arrays, points, out)
        return out

    def layer(
        self,
        z_mm: float,
        origin_xy_mm: tuple[float, float],
        step_mm: float,
        shape: tuple[int, int],
        spans: IntArray | None = None,
        out: FloatArray | None = None,
    ) -> FloatArray:
        """(J, I) values at the nodes (origin + i*step, origin + j*step) of the plane at ``z_mm``.

        ``spans`` (J, 2) int64 limits each row to nodes [first, last); the rest is +inf, or left as it is in ``out``.
        Equal to :meth:`value`, but for nodes of a graph that lie further than one mean cell from every strut.
        """
        from implantflow.field import material_kernels

        out = np.full(shape, np.inf) if out is None else out
        if spans is None:
            spans = np.tile(np.array([0, shape[1]], dtype=np.int64), (shape[0], 1))
        material_kernels.material_layer(
            self.lattice.arrays,
            self.arrays,
            *self.lattice.by_height,
            *origin_xy_mm,
            step_mm,
            z_mm,
            spans,
            out,
        )
        return out
