"""What a machine makes of a build file, and how scanners see it: for simulated prints only."""
