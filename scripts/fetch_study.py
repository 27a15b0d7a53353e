"""Entry of the rule `fetch_study` (rules/ingest.smk): hands the job to its one stage function."""

from implantflow import jobs
from implantflow.ingest.stage import fetch_study

jobs.run_rule(snakemake, fetch_study)  # noqa: F821
