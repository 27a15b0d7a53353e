"""Entry of the rule `build_part` (rules/build.smk): hands the job to its one stage function."""

from implantflow import jobs
from implantflow.build.stage import build_part

jobs.run_rule(snakemake, build_part)  # noqa: F821
