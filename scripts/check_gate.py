"""Entry of the rule `check_gate` (the gates): hands the job to its one stage function."""

from implantflow import jobs
from implantflow.review.gate import check_gate

jobs.run_rule(snakemake, check_gate)  # noqa: F821
