"""The invented person a phantom's files belong to."""

from __future__ import annotations

from datetime import date

import numpy as np

from implantflow.config.simulated import SimulatedConfig
from implantflow.phantom.dicom_writer import Person


def invented_person(cfg: SimulatedConfig) -> Person:
    """Name, ID, birth date and sex made from the seed; the name says that nobody is meant."""
    rng = np.random.default_rng([cfg.seed, 5])
    born = date(cfg.study_dates.mr_diagnosis.year - int(rng.integers(16, 60)), int(rng.integers(1, 13)), 15)
    return Person(
        f"SIMULATED^PHANTOM {cfg.seed}", f"SIM-{cfg.seed:06d}", born, "M" if rng.random() < 0.5 else "F"
    )
