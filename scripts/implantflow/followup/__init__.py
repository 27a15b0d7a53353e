"""What the CT after the operation shows: motion of the implant, fusion at its faces, bone in its lattice."""
