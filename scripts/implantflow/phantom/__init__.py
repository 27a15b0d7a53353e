"""The demo patient: a procedural pelvis, its CT and MR, written as DICOM, and the truth about it.

Imports no stage and is imported by none (docs/decisions/0002-truth-outside-the-dag.md).
"""
