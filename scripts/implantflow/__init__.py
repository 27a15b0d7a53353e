"""implantflow: from a patient's scans to a printable, patient-specific titanium implant, and back.

Nothing in this package imports Snakemake; the rules in ``rules/`` call it through the entries in
``scripts/``.
"""

import gc
import os

__version__ = "0.1.0"

# Sums of BLAS differ with its thread count; one thread keeps the same bytes on any machine (decision 7).
# It must be said before numpy is first imported, and this file is always read before.
for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

# Threads that wait must not spin: with more jobs than cores spinning costs several times the work.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# numba would take oneTBB wherever that library happens to be installed; its threads spin, and on a busy machine it
# keeps a finished process for minutes.
os.environ.setdefault("NUMBA_THREADING_LAYER_PRIORITY", "omp tbb workqueue")
# pydantic would let any installed package change what it validates, and reads every package's metadata to find out.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")

# Imports make some hundred thousand objects that stay: the collector would go through them again and again, for a tenth
# of the time of the imports.
gc.set_threshold(10_000)
