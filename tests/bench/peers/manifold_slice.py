"""manifold3d.slice of every layer; contours only, no hatches, no file."""

import sys

import manifold3d
import numpy as np
import trimesh

path, layer_mm = sys.argv[1], float(sys.argv[2])
mesh = trimesh.load_mesh(path)
solid = manifold3d.Manifold(
    manifold3d.Mesh(np.asarray(mesh.vertices, np.float32), np.asarray(mesh.faces, np.uint32))
)
low, high = mesh.bounds[:, 2]
count = int((high - low) / layer_mm)
loops = 0
for k in range(count):
    loops += len(solid.slice(low + layer_mm * (k + 0.5)).to_polygons())
assert loops >= count
