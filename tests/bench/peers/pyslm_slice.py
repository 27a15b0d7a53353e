"""PySLM: contours and hatches of a few layers of a mesh; ``pyslm_slice.py MESH LAYERS FIRST_MM``."""

import sys

import pyslm
from pyslm import hatching

path, layers, first_mm = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
part = pyslm.Part("lattice")
part.setGeometry(path)
part.dropToPlatform()
hatcher = hatching.Hatcher()
hatcher.hatchDistance = 0.2
hatcher.hatchAngle = 0.0
hatcher.volumeOffsetHatch = 0.0
hatcher.spotCompensation = 0.0
hatcher.numInnerContours = 0
hatcher.numOuterContours = 1
hatcher.hatchSortMethod = None
made = 0
for layer in range(layers):
    shape = part.getVectorSlice(first_mm + 0.05 * layer)
    made += len(hatcher.hatch(shape).geometry)
assert made >= layers
