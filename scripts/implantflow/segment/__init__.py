"""Bones of the planning CT: threshold, shape prior, cut in the disputed band, half-maximum surface."""
