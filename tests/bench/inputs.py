"""Inputs of the bench, made on the spot: a CT series and a hemisacrum-like solid."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np


def ct_series(folder: Path, slices: int = 400, size: int = 512) -> None:
    """Write an axial CT series of ``slices`` x ``size`` x ``size`` int16, 0.75 mm, explicit little endian."""
    from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    block = rng.integers(0, 3000, (8, size, size)).astype(np.int16)
    for k in range(slices):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = CTImageStorage
        meta.MediaStorageSOPInstanceUID = f"2.25.1000{k + 1}"
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds = FileDataset("", Dataset(), file_meta=meta, preamble=b"\0" * 128)
        ds.SOPClassUID, ds.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
        ds.SeriesInstanceUID, ds.StudyInstanceUID = "2.25.11", "2.25.12"
        ds.FrameOfReferenceUID = "2.25.13"
        ds.PatientID, ds.PatientName, ds.PatientBirthDate, ds.PatientSex = (
            "B1",
            "BENCH^SERIES",
            "19700101",
            "F",
        )
        ds.Modality, ds.ImageType = "CT", ["ORIGINAL", "PRIMARY", "AXIAL"]
        ds.InstanceNumber = k + 1
        ds.Rows = ds.Columns = size
        ds.PixelSpacing = [0.75, 0.75]
        ds.SliceThickness = 0.75
        ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        ds.ImagePositionPatient = [-192.0, -192.0, -150.0 + 0.75 * k]
        ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
        ds.BitsAllocated = ds.BitsStored = 16
        ds.HighBit, ds.PixelRepresentation = 15, 1
        ds.RescaleSlope, ds.RescaleIntercept = 1, -1024
        ds.PixelData = np.roll(block[k % 8], k, axis=1).tobytes()
        ds.save_as(folder / f"{k:04d}.dcm", enforce_file_format=True)


def hemisacrum(path: Path, height_mm: float = 110.0) -> None:
    """Write a smooth closed solid of about 89 x 58 x ``height_mm`` mm with two foramina and one screw hole.

    At 110 mm it has 244 cm3 and 134 thousand triangles, as many as an implant of half a sacrum.
    """
    import manifold3d as m3

    from implantflow.artifacts import write_stl

    body = (
        m3.Manifold.sphere(1.0, 732).scale((89.0, 25.2, height_mm / 2.0)).translate((0, 0, height_mm / 2.0))
    )
    half = body.warp_batch(_wave).trim_by_plane((1, 0, 0), 0.0)
    for z, radius in ((0.35, 6.0), (0.6, 7.0), (0.8, 4.0)):
        bore = m3.Manifold.cylinder(120.0, radius, radius, 96, True).rotate((90, 0, 0))
        half -= bore.translate((22.0, 0.0, z * height_mm))
    mesh = half.to_mesh()
    write_stl(path, np.asarray(mesh.vert_properties)[:, :3], np.asarray(mesh.tri_verts), "bench solid")


def strut_through(vertices: np.ndarray) -> dict[str, Any]:
    """Regions of a solid with a dense strut of 10 mm up through its middle, and no shell."""
    low, high = vertices.min(0), vertices.max(0)
    middle = (low + high) / 2.0
    ends = [[middle[0], middle[1], low[2]], [middle[0], middle[1], high[2]]]
    segment = {"start_lps_mm": ends[0], "end_lps_mm": ends[1], "radius_mm": 5.0}
    return {"strut": {"segments": [segment]}, "shell": {"thickness_mm": 0.0}}


def _wave(points: np.ndarray) -> np.ndarray:
    out = np.array(points)
    out[:, 1] += 4.0 * np.sin(points[:, 2] / 14.0) + 2.0 * np.cos(points[:, 0] / 9.0)
    return out


def meshed_lattice(path: Path, side: float) -> str:
    """A cube of diamond 2.5/0.5 lattice, ``side`` mm, as triangles at 0.1 mm, for the peers that need a mesh."""
    from vtkmodules.util.numpy_support import numpy_to_vtk
    from vtkmodules.vtkCommonDataModel import vtkImageData
    from vtkmodules.vtkFiltersCore import vtkFlyingEdges3D
    from vtkmodules.vtkIOGeometry import vtkSTLWriter

    from implantflow.field.cells import cell_value

    step = 0.1
    axis = np.arange(-step, side + 2 * step, step)
    image = vtkImageData()
    image.SetDimensions(len(axis), len(axis), len(axis))
    image.SetSpacing(step, step, step)
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    points = np.column_stack([x.ravel(), y.ravel(), z.ravel()])
    value = cell_value("diamond", 2.5, 0.5, points)
    outside = np.maximum(np.abs(points - side / 2).max(axis=1) - side / 2, value)
    image.GetPointData().SetScalars(numpy_to_vtk(outside.astype(np.float32), deep=1))
    edges = vtkFlyingEdges3D()
    edges.SetInputData(image)
    edges.SetValue(0, 0.0)
    writer = vtkSTLWriter()
    writer.SetInputConnection(edges.GetOutputPort())
    writer.SetFileTypeToBinary()
    writer.SetFileName(str(path))
    writer.Write()
    triangles = path.stat().st_size // 50
    return f"cube of {side:.0f} mm, {triangles:,} triangles"
