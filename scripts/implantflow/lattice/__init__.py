"""The lattice stage: makes the field, measures it, exports previews of it."""
