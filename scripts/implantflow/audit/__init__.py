"""Ledger, verification and exports: what was done, with what, by whom."""
