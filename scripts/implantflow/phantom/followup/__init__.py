"""Simulated CT after the operation: anatomy, implant and screws projected with a whole spectrum and reconstructed."""
