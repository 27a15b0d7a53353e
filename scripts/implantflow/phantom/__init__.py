"""The demo patient: a procedural pelvis, its CT and MR, written as DICOM, and the truth about it.

Imports no stage and is imported by none (design.md, decision 8).
"""
