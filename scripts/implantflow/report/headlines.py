"""The few figures of each stage that the summary table shows."""

from __future__ import annotations

from implantflow.report.figure_spec import Row

#: Figures of the summary table: few per stage, those a reader asks for first.
HEADLINES: dict[str, tuple[Row, ...]] = {
    "ingest": (Row("same_patient.series_compared", "series", "", 0), Row("same_patient.verdict", "patient:")),
    "segment": (
        Row("labels.sacrum.volume_mm3", "sacrum", "cm³", 1, 1e-3),
        Row("labels.hip_left.volume_mm3", "left hip bone", "cm³", 1, 1e-3),
        Row("labels.hip_right.volume_mm3", "right hip bone", "cm³", 1, 1e-3),
    ),
    "tumour": (
        Row("response.volume_change_pct", "volume", "%", 1),
        Row("response.recist", "RECIST 1.1:"),
        Row("response.who", "WHO:"),
    ),
    "plan": (
        Row("osteotomy_margin_min_mm", "bone margin", "mm", 1),
        Row("specimen_volume_mm3", "specimen", "cm³", 1, 1e-3),
        Row("revision", "plan"),
    ),
    "prototype": (Row("approved", "approved:"),),
    "implant": (
        Row("volume_mm3", "volume", "cm³", 1, 1e-3),
        Row("gap_p95_mm", "gap p95", "mm", 2),
        Row("contact_area_mm2", "contact", "cm²", 1, 1e-2),
    ),
    "lattice": (
        Row("cell", "cell"),
        Row("porosity", "porosity", "", 3),
        Row("pore_um", "pore", "µm", 0),
    ),
    "strength": (
        Row("safety_factor", "safety factor", "", 2),
        Row("max_von_mises_mpa", "largest stress", "MPa", 0),
        Row("judged", "judged on"),
    ),
    "build": (
        Row("revisions.-1.layers", "layers", "", 0),
        Row("revisions.-1.time_h", "time", "h", 1),
        Row("revisions.-1.solid_volume_mm3", "metal", "cm³", 2, 1e-3),
    ),
    "inspect": (
        Row("revisions.-1.id", "revision"),
        Row("revisions.-1.decision", ""),
        Row("revisions.-1.scale_error_pct", "scale error", "%", 2),
    ),
    "release": (
        Row("revision", "revision"),
        Row("traveller.status", "manufacturing record"),
        Row("side", "side"),
    ),
    "followup": (
        Row("timepoints.-1.migration_mm", "migration", "mm", 2),
        Row("timepoints.-1.rotation_deg", "rotation", "°", 2),
        Row("timepoints.-1.lattice.delta_bone_fraction", "bone in the pores", "", 2),
        Row("timepoints.-1.lattice.interval", "its 95 % interval", "", 2, join=" to "),
    ),
    "audit": (Row("verified", "verified:"), Row("entries", "entries", "", 0)),
}
