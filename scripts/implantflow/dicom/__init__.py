"""Reading DICOM images into patient space: right, or an error that names the file."""
