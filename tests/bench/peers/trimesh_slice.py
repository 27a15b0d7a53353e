"""trimesh.section_multiplane over every n-th layer; contours only, no hatches, no file."""

import sys

import numpy as np
import trimesh

path, layer_mm, layers, first = sys.argv[1], float(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
mesh = trimesh.load_mesh(path)
z = mesh.bounds[0][2] + layer_mm * (first + np.arange(layers) + 0.5)
sections = mesh.section_multiplane(plane_origin=[0, 0, 0], plane_normal=[0, 0, 1], heights=z)
assert sum(s is not None for s in sections) > 0.9 * layers
