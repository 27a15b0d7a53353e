"""Strength: effective stiffness of the lattice cell, and the implant under load, by voxel finite elements."""
