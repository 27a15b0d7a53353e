"""Validation of the follow-up on simulated scans whose truth is known; ``python -m tests.followup.validation``."""
