"""Tables of the sacrum in its curved coordinates (see :mod:`implantflow.phantom.sacral_line`), mm.

Textbook-like guesses, adjusted by eye against the Visible Human's axial slices.
"""

from __future__ import annotations

import numpy as np

#: Stations of the vertebral bodies' profile, and half depth (u) and half width (x) there.
BODY_S = [0, 15, 30, 42, 55, 66, 77, 86, 95, 104, 112]
BODY_DEPTH = [16, 13.8, 12.2, 10.4, 9.2, 7.8, 7, 6.3, 6, 5.3, 4.6]
BODY_WIDTH = [25, 22.5, 21, 18.5, 17, 15.5, 14.5, 13.5, 12.5, 11, 9]
#: Transverse ridges where the bodies fused: station and height.
RIDGES = ((30.0, 1.5), (55.0, 1.2), (77.0, 1.0), (95.0, 0.8))

#: Lateral mass: front and back surface (u) on stations s and distances |x| from the mid-line.
MASS_S = [-5, 5, 15, 25, 35, 45, 55, 65, 75, 85, 95, 105, 113]
MASS_X = [0, 15, 24, 36, 48, 62]
MASS_FRONT = np.array(
    [
        [8, 8, 4, 0, 0, 1],
        [9, 9, 5, 2.5, 3, 5.5],
        [10, 9, 5, 4, 6.5, 9],
        [9, 9, 4.2, 5.2, 9.5, 13.2],
        [8, 8, 4.2, 4.7, 10.5, 13.2],
        [7, 7, 4.2, 4.7, 9.5, 12.2],
        [6, 6, 4.2, 4.7, 7.5, 9.2],
        [5, 5, 4.2, 4.5, 6.5, 8.2],
        [4.5, 4.5, 4.4, 4.2, 5, 6],
        [4, 4, 4.5, 5, 6, 6],
        [3.5, 3.5, 4, 4, 4, 4],
        [3, 3, 3, 3, 3, 3],
        [2.5, 2.5, 2.5, 2.5, 2.5, 2.5],
    ]
)
MASS_BACK = np.array(
    [
        [-35, -35, -29.5, -19, -16, -15],
        [-35, -35, -28.5, -20, -17.5, -16],
        [-34, -34, -27, -20.5, -18, -16.5],
        [-33, -33, -23.5, -18, -15.2, -13],
        [-31, -31, -22, -17.8, -16, -13],
        [-28.5, -28.5, -20, -15, -13, -11],
        [-26, -26, -17.5, -11.5, -8.4, -7.2],
        [-23, -23, -14.5, -8, -5.2, -4.2],
        [-20, -20, -13.5, -7.5, -4.6, -3.2],
        [-17.5, -17, -10.5, -5.2, -3, -2],
        [-14.5, -14, -9, -6, -4, -3],
        [-10.5, -10, -8, -6, -5, -4],
        [-7, -6, -5, -5, -4, -4],
    ]
)
#: Side of the lateral mass (|x|) along s; down to s = 46 the joint cuts it.
SIDE_S = [-5, 0, 8, 46, 54, 62, 70, 78, 86, 94, 102, 112]
SIDE_X = [56, 60, 66, 66, 53, 45, 41, 37.5, 34, 28, 19, 10]

#: Median crest: station, u of its foot and of its tip, length along s, radius.
TUBERCLES = (
    (17, -33, -41, 6.0, 4.6),
    (41, -30, -38.5, 6.0, 4.4),
    (62, -25, -32, 5.5, 4.0),
    (80, -19, -24, 4.5, 3.6),
)
CREST_LINE = ((-36, 10), (-31, 50), (-19, 88))

#: Sacral canal: u of its axis, half height, half width along s.
CANAL_AXIS = ([-10, 0, 15, 30, 45, 60, 77, 92, 104], [-25.5, -25.5, -23.2, -21, -18, -15, -12.4, -10.6, -9])
CANAL_HEIGHT = ([-10, 0, 30, 60, 77, 92, 104], [9, 8.6, 7, 5.3, 4.3, 3.6, 3])
CANAL_WIDTH = ([-10, 0, 30, 60, 77, 92, 104], [16, 15, 12.5, 9.5, 7.5, 6, 5])

#: Foramina S1-S4: station, |x| of the hub, front radius, back radius, u of the back end, of the canal, of the hub.
FORAMINA = (
    (30.0, 22.5, 6.2, 3.6, -40, -19.0, -9.0),
    (54.0, 20.0, 5.8, 3.2, -34, -14.5, -7.0),
    (75.5, 17.5, 4.9, 2.8, -28, -11.0, -5.5),
    (92.5, 15.0, 3.9, 2.4, -22, -9.0, -4.5),
)

#: Coccygeal segments: station, half sizes along x, u, s.
COCCYX = (
    (119.3, 10.5, 4.4, 6.0),
    (129.6, 7.2, 4.0, 5.6),
    (138.6, 5.4, 3.5, 5.0),
    (146.0, 4.0, 3.0, 4.2),
)
