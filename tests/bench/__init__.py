"""Peers and ours side by side in one run: ``make bench``."""
