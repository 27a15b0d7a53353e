"""Entry of the rule `make_lattice` (rules/lattice.smk): hands the job to its one stage function."""

from implantflow import jobs
from implantflow.lattice.stage import make_lattice

jobs.run_rule(snakemake, make_lattice)  # noqa: F821
