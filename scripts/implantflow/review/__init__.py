"""Signed reviews: statements, keys, records, and the gates they open."""
