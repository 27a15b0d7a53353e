"""Entry of the rule `segment_bones` (rules/segment.smk): hands the job to its one stage function."""

from implantflow import jobs
from implantflow.segment.stage import segment_bones

jobs.run_rule(snakemake, segment_bones)  # noqa: F821
