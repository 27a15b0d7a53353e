"""DICOM objects that the pipeline makes: segmentations, models, figures, registrations.

UIDs come from content and dates from the case, so that the same case gives the same bytes; series and instances
of the sources are named by their remapped UIDs.
"""
