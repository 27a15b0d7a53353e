"""Read one series into an array a few times in one process; print the best wall and CPU time, warm, as JSON."""

import json
import os
import sys
import time
from pathlib import Path


def implantflow(folder):
    from implantflow.ingest.read import take_series

    return take_series(folder).volume.array


def simpleitk(folder):
    import SimpleITK as sitk

    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    return sitk.GetArrayFromImage(reader.Execute())


def highdicom(folder, **options):
    import highdicom as hd
    import pydicom

    datasets = [pydicom.dcmread(path) for path in sorted(folder.iterdir())]
    return hd.get_volume_from_series(datasets, **options).array


def highdicom_int32(folder):
    """The smallest type it accepts here: it refuses int16, since the slope might overflow it."""
    return highdicom(folder, dtype="int32")


READERS = {
    "implantflow": implantflow,
    "SimpleITK": simpleitk,
    "highdicom": highdicom,
    "highdicom (int32)": highdicom_int32,
}


def processor_s():
    """Of this process and of those it has started and ended."""
    return sum(os.times()[:4])


def main(name, folder, repeats):
    best = None
    for _ in range(int(repeats) + 1):  # the first one imports and warms
        wall, cpu = time.perf_counter(), processor_s()
        shape = READERS[name](Path(folder)).shape
        cost = (time.perf_counter() - wall, processor_s() - cpu)
        best = cost if best is None else min(best, cost)
    print(json.dumps({"wall_s": best[0], "cpu_s": best[1], "shape": list(shape)}))


main(*sys.argv[1:])
