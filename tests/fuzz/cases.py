"""One seed, one damaged folder: which base, which files, which damage."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tests.fuzz.bases import KINDS, base
from tests.fuzz.bombs import BOMBS, deflate_bomb
from tests.fuzz.elements import deflate, inflate
from tests.fuzz.folders import FOLDER_DAMAGES
from tests.fuzz.mutate import DAMAGES, Rng, Tally

_FILE_DAMAGES = DAMAGES | BOMBS
_ALL = {**{n: w for n, (w, _) in _FILE_DAMAGES.items()}, **{n: w for n, (w, _) in FOLDER_DAMAGES.items()}}
#: A bomb of hundreds of megabytes takes seconds to make: one in four hundred of the deflated series.
_DEFLATE_BOMB_SHARE = 1 / 60


@dataclass(frozen=True)
class Case:
    """A damaged folder and what was done to it.

    Attributes
    ----------
    series_uid : given to the reader as the wanted series, or None
    pixel_bits : most voxels that flipped bits of uncompressed pixel data can have changed
    stream : whether a compressed stream was damaged
    """

    base: str
    damages: list[str]
    series_uid: str | None
    pixel_bits: int
    stream: bool
    notes: list[str] = field(default_factory=list)


def build(seed: int, folder: Path) -> Case:
    """Write the damaged series of ``seed`` into ``folder``, which is emptied first."""
    from tests.fuzz.bases import SERIES_UID

    rng = np.random.default_rng([2024, seed])
    name = str(rng.choice(list(KINDS)))
    good = base(name)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for file, data in good.files.items():
        (folder / file).write_bytes(data)
    count = int(rng.choice([1, 2, 3], p=[0.6, 0.28, 0.12]))
    weights = np.array(list(_ALL.values()))
    chosen = [str(c) for c in rng.choice(list(_ALL), count, p=weights / weights.sum())]
    tally = Tally()
    if name == "ct_deflated" and rng.random() < _DEFLATE_BOMB_SHARE:
        chosen = ["deflate_bomb"]
    # The first and the last file are where a lost image is hardest to notice.
    files = sorted(good.files)
    victim = files[int(rng.choice([0, -1]))] if rng.random() < 0.4 else str(rng.choice(files))
    for damage in sorted(chosen, key=lambda d: d in FOLDER_DAMAGES):
        path = folder / (victim if rng.random() < 0.8 else str(rng.choice(files)))
        if not path.is_file():
            continue
        if damage in FOLDER_DAMAGES:
            tally.notes.append(FOLDER_DAMAGES[damage][1](folder, path, rng))
        else:
            path.write_bytes(_damaged(path.read_bytes(), damage, rng, tally))
    uid = SERIES_UID if rng.random() < 0.5 else None
    return Case(name, chosen, uid, tally.pixel_bits, tally.stream, tally.notes)


def _damaged(data: bytes, damage: str, rng: Rng, tally: Tally) -> bytes:
    if damage == "deflate_bomb":
        return deflate_bomb(data, rng)
    clear = inflate(data)
    # A deflated file is damaged inside, or as the stream that it is.
    packed = clear != data and rng.random() < 0.8
    work = bytearray(clear if packed else data)
    _FILE_DAMAGES[damage][1](work, rng, tally)
    if clear != data and not packed:
        tally.stream = True
    return deflate(bytes(work)) if packed and len(work) > 200 else bytes(work)
