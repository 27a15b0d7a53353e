"""From folders of DICOM files to volumes in patient space, with a manifest of every check."""
