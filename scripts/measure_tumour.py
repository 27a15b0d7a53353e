"""Entry of the rule `measure_tumour` (rules/tumour.smk): hands the job to its one stage function."""

from implantflow import jobs
from implantflow.tumour.stage import measure_tumour

jobs.run_rule(snakemake, measure_tumour)  # noqa: F821
