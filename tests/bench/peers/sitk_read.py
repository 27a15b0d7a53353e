"""SimpleITK's series reader -> compressed NIfTI. It checks none of what our ingest checks."""

import sys

import SimpleITK as sitk

folder, out = sys.argv[1:]
reader = sitk.ImageSeriesReader()
reader.SetFileNames(reader.GetGDCMSeriesFileNames(folder))
sitk.WriteImage(reader.Execute(), out, True, 1)
