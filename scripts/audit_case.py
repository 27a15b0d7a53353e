"""Entry of the rule `audit_case` (rules/audit.smk): hands the job to its one stage function."""

from implantflow import jobs
from implantflow.audit.stage import audit_case

jobs.run_rule(snakemake, audit_case)  # noqa: F821
