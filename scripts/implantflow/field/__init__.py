"""The one signed-distance field of the implant that lattice, strength, build and follow-up all evaluate."""
