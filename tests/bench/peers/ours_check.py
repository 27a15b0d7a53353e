"""Reading a build file back and examining it, without slicing."""

import sys
from pathlib import Path

from implantflow.build.checks import examine_file

_, found = examine_file(Path(sys.argv[1]), 200.0, 0.05, 0.01, 2)
assert (found.open_loops, found.winding_errors, found.overlap_layers, found.stray_hatches) == (0, 0, 0, 0)
