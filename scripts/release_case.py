"""Entry of the rule `release_case` (rules/release.smk): hands the job to its one stage function."""

from implantflow import jobs
from implantflow.release.stage import release_case

jobs.run_rule(snakemake, release_case)  # noqa: F821
