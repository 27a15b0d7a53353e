"""Images and label maps from other programs: one strict door for frames, units and grids."""
