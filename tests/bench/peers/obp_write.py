"""Beam paths to OBP packets in memory: ours (compressed as made) or obplib's (not). Prints the best of three."""

from __future__ import annotations

import io
import json
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

UM_PER_UNIT, CENTRE_UM, SPOT_UM, POWER_W, SPEED_UM_S = 5.0, 100_000.0, 300.0, 240.0, 500_000


def with_ours(lines: np.ndarray) -> Callable[[], int]:
    from implantflow.build import obp_kernels
    from implantflow.build.obf_writer import beam_fields

    packet = obp_kernels.packet_of(*beam_fields(SPOT_UM, POWER_W, SPEED_UM_S / 1000.0))
    table = obp_kernels.crc_tables(len(packet))
    # The size of the packets, as the other's.
    return lambda: obp_kernels.compress_lines(lines, UM_PER_UNIT, CENTRE_UM, CENTRE_UM, packet, table)[2]


def with_obplib(lines: np.ndarray) -> Callable[[], int]:
    import obplib
    from obplib import FileHandler

    ends = lines * UM_PER_UNIT - CENTRE_UM

    def write() -> int:
        beam = obplib.Beamparameters(SPOT_UM, POWER_W)
        made: list[Any] = [
            obplib.Line(obplib.Point(a, b), obplib.Point(c, d), SPEED_UM_S, beam)
            for a, b, c, d in ends.tolist()
        ]
        out = io.BytesIO()
        FileHandler.write(made, out)
        return out.tell()

    return write


def main() -> None:
    name, count = sys.argv[1], int(sys.argv[2])
    lines = np.random.default_rng(1).integers(0, 40000, (count, 4))
    write = {"implantflow": with_ours, "obplib": with_obplib}[name](lines)
    costs = []
    write()  # compiled and imported before the clock starts
    for _ in range(3):
        wall, cpu = time.perf_counter(), time.process_time()
        size = write()
        costs.append((time.process_time() - cpu, time.perf_counter() - wall))
    cpu_s, wall_s = min(costs)
    print(json.dumps({"cpu_s": cpu_s, "wall_s": wall_s, "bytes": size, "lines_per_s": count / cpu_s}))


if __name__ == "__main__":
    main()
