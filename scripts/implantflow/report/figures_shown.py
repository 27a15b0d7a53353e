"""Which figures each section of the page shows, in order."""

from __future__ import annotations

from implantflow.report.figure_spec import Limit, Listing, Row

ROWS: dict[str, tuple[Row, ...]] = {
    "ingest": (
        Row("same_patient.verdict", "Patient compared over all series"),
        Row("same_patient.series_compared", "Series compared", digits=0),
    ),
    "segment": (
        Row("threshold_hu", "Threshold: bone is at or above", "HU", 0),
        Row("disputed_pct", "Voxels decided by the cut between bones", "%", 2),
    ),
    "tumour": (
        Row("virtual", "Virtual tumour (from the config, in no image)"),
        Row("side", "Side found"),
        Row("response.volume_change_pct", "Change of volume", "%"),
        Row("response.recist_change_pct", "RECIST 1.1: change of longest diameter", "%"),
        Row("response.recist", "RECIST 1.1"),
        Row("response.who_change_pct", "WHO: change of product of diameters", "%"),
        Row("response.who", "WHO"),
        Row("union_volume_mm3", "Extent before and after together", "cm³", 1, 1e-3),
        Row(
            "bone_gap_mm",
            "Distance to the sacrum",
            "mm",
            1,
            1.0,
            Limit("<=", config="tumour.max_bone_gap_mm"),
        ),
    ),
    "plan": (
        Row("revision", "Plan in force"),
        Row("side", "Side"),
        Row("midline_plane", "Sacral mid-plane", "", 2),
        Row(
            "osteotomy_margin_min_mm",
            "Least bone margin, osteotomy to tumour",
            "mm",
            1,
            1.0,
            Limit(">=", config="plan.revisions.{revision}.margin_mm"),
        ),
        Row("soft_tissue_margin_min_mm", "Room from tumour to the nearest bone that stays", "mm"),
        Row("roots_sacrificed", "Nerve roots sacrificed"),
        Row("specimen_volume_mm3", "Specimen", "cm³", 1, 1e-3),
    ),
    "prototype": (Row("approved", "Approved iteration"),),
    "implant": (
        Row("volume_mm3", "Volume of the outer solid", "cm³", 1, 1e-3),
        Row("watertight", "Watertight", must=True),
        Row("gap_p50_mm", "Gap to bone, median", "mm", 2),
        Row(
            "gap_p95_mm",
            "Gap to bone, 95th percentile",
            "mm",
            2,
            1.0,
            Limit("<=", config="implant.limits.gap_p95_mm"),
        ),
        Row(
            "contact_area_mm2",
            "Contact area",
            "cm²",
            1,
            1e-2,
            Limit(">=", config="implant.limits.contact_area_min_mm2"),
        ),
        Row(
            "interpenetration_mm3",
            "Overlap with bone that remains",
            "mm³",
            2,
            1.0,
            Limit("<=", config="implant.limits.interpenetration_mm3"),
        ),
        Row("vs_specimen_dice", "Dice with the specimen", "", 3),
        Row(
            "vs_approved_mm",
            "Difference to the approved iteration outside listed regions",
            "mm",
            3,
            1.0,
            Limit("<=", 0.05, source="design, gate rule"),
        ),
    ),
    "lattice": (
        Row("cell", "Cell"),
        Row("cell_mm", "Cell size", "mm", 2),
        Row("strut_mm", "Strut", "mm", 2, 1.0, Limit(">=", config="lattice.limits.strut_min_mm")),
        Row("relative_density", "Relative density of the porous region", "", 3),
        Row(
            "porosity",
            "Porosity of the porous region",
            "",
            3,
            1.0,
            Limit(">=", config="lattice.limits.porosity_min"),
        ),
        Row(
            "pore_um",
            "Pore (largest sphere inside)",
            "µm",
            0,
            1.0,
            Limit(">=", config="lattice.limits.pore_min_um"),
        ),
        Row(
            "throat_um",
            "Throat (largest sphere through)",
            "µm",
            0,
            1.0,
            Limit(">=", config="lattice.limits.throat_min_um"),
        ),
        Row("dense_fraction", "Dense share of the implant", "", 3),
        Row(
            "closed_pores", "Closed pores", "", 0, 1.0, Limit("<=", config="lattice.limits.closed_pores_max")
        ),
        Row("modulus_gpa", "Effective modulus of the cell", "GPa", 2),
    ),
    "strength": (
        Row("judged", "Judged on"),
        Row("max_von_mises_mpa", "Largest von Mises stress", "MPa", 0),
        Row(
            "safety_factor",
            "Least safety factor (fatigue)",
            "",
            2,
            1.0,
            Limit(">=", config="strength.safety_factor_min"),
        ),
        Row("stiffness_n_per_mm", "Least stiffness", "kN/mm", 1, 1e-3),
        Row("elements", "Finite elements", "", 0),
        Row("solver_agreement_pct", "Difference to the independent check", "%", 2),
    ),
    "audit": (
        Row("verified", "Every file as its job left it, ledger unbroken", must=True),
        Row("entries", "Entries in the ledger", "", 0),
        Row("unsigned_gates", "Gates passed without a signature"),
    ),
}

_ZERO = Limit("<=", 0.0, source="contract")

LISTINGS: dict[str, tuple[Listing, ...]] = {
    "ingest": (
        Listing(
            "series",
            "Series",
            (
                Row("name", "Series"),
                Row("modality", "Modality"),
                Row("n_slices", "Slices", "", 0),
                Row("spacing_mm", "Spacing", "mm", 3),
                Row("tilt_deg", "Tilt", "°", 2),
                Row("max_residual_mm", "Largest slice offset", "mm", 4),
                Row("resampled", "Resampled"),
                Row("verdict", "Verdict"),
            ),
        ),
    ),
    "segment": (
        Listing(
            "labels",
            "Bones",
            (
                Row("name", "Bone"),
                Row("volume_mm3", "Volume", "cm³", 1, 1e-3),
                Row("watertight", "Watertight", must=True),
                Row("shells", "Shells", "", 0, 1.0, Limit("<=", 1.0, source="contract")),
            ),
        ),
    ),
    "tumour": (
        Listing(
            "timepoints",
            "Extent at each time point",
            (
                Row("name", "Time point"),
                Row("method", "Method"),
                Row("volume_mm3", "Volume (segmented)", "cm³", 1, 1e-3),
                Row("axes_mm", "Axes", "mm", 1),
                Row("ellipsoid_mm3", "π/6·abc of the axes", "cm³", 1, 1e-3),
                Row("registration.rotation_deg", "Registered: rotation", "°", 2),
                Row("registration.agreement_mm", "Agreement of starts", "mm", 2),
            ),
        ),
        Listing(
            "reported",
            "Reported figures, checked",
            (
                Row("name", "Time point"),
                Row("volume_cm3", "Reported volume", "cm³", 0),
                Row("axes_cm", "Reported axes", "cm", 1),
                Row("reproduced_by", "Formula that reproduces the volume"),
                Row("formulas_cm3.ellipsoid", "π/6·abc of the axes", "cm³", 1),
                Row("change_pct", "Reported change", "%", 0),
                Row("change_from_axes_pct", "Change from the axes", "%", 1),
            ),
        ),
    ),
    "plan": (
        Listing(
            "resection_planes",
            "Resection planes",
            (
                Row("name", "Plane"),
                Row("kind", "Kind"),
                Row("point_lps_mm", "Point, LPS", "mm", 1),
                Row("normal_lps", "Normal, LPS", "", 3),
                Row("source", "Source"),
                Row("tumour_distance_min_mm", "Tumour, least distance", "mm", 1),
            ),
        ),
        Listing(
            "corridors",
            "Screw corridors",
            (
                Row("name", "Corridor"),
                Row("length_mm", "Length", "mm"),
                Row("diameter_mm", "Screw", "mm"),
                Row("min_clearance_mm", "Axis to surface, least", "mm", 1),
                Row("needed_clearance_mm", "Needed", "mm", 1),
                Row("fits", "Fits", must=True),
            ),
        ),
    ),
    "prototype": (
        Listing(
            "iterations",
            "Iterations",
            (
                Row("id", "Iteration"),
                Row("parent", "Parent"),
                Row("plan", "Plan"),
                Row("hausdorff_to_parent_mm", "Largest distance to parent", "mm", 2),
                Row("corrections", "Corrections"),
                Row("decision", "Decision"),
                Row("reviewers", "Reviewers"),
                Row("subject_sha256", "Approved digest"),
            ),
        ),
    ),
    "strength": (
        Listing(
            "load_cases",
            "Load cases",
            (
                Row("name", "Load case"),
                Row("force_n", "Force", "N", 0),
                Row("max_von_mises_mpa", "Largest von Mises stress", "MPa", 0),
                Row("safety_factor_dense", "Safety factor, dense", "", 2),
                Row("safety_factor_strut", "Safety factor, struts", "", 2),
                Row(
                    "safety_factor",
                    "Safety factor",
                    "",
                    2,
                    1.0,
                    Limit(">=", config="strength.safety_factor_min"),
                ),
                Row("stiffness_n_per_mm", "Stiffness", "kN/mm", 1, 1e-3),
                Row("verified", "Load verified"),
            ),
        ),
    ),
    "build": (
        Listing(
            "revisions",
            "Build revisions",
            (
                Row("id", "Revision"),
                Row("layers", "Layers", "", 0),
                Row("layer_mm", "Layer", "mm", 3),
                Row("open_loops", "Open loops", "", 0, 1.0, _ZERO),
                Row("winding_errors", "Winding errors", "", 0, 1.0, _ZERO),
                Row("unsupported_islands", "Islands on powder", "", 0),
                Row("contour_m", "Contours", "m", 0),
                Row("hatch_m", "Hatches", "m", 0),
                Row("solid_volume_mm3", "Metal", "cm³", 2, 1e-3),
                Row("time_h", "Time", "h", 1),
                Row("energy_kwh", "Energy", "kWh", 1),
                Row("within_envelope", "Fits the machine", must=True),
            ),
        ),
        Listing(
            "revisions.-1.checks.checks",
            "Checks of the last build file, read back",
            (
                Row("name", "Check"),
                Row("figure", "Found", "", 3),
                Row("limit", "Limit"),
                Row("pass", "Passed", must=True),
                Row("where", "Where"),
            ),
        ),
    ),
    "implant": (
        Listing(
            "faces",
            "Contact faces",
            (
                Row("name", "Face"),
                Row("area_mm2", "Area", "cm²", 1, 1e-2),
                Row("gap_min_mm", "Gap, least", "mm", 2),
                Row("gap_p50_mm", "Gap, median", "mm", 2),
                Row("gap_p95_mm", "Gap, 95th percentile", "mm", 2),
            ),
        ),
    ),
    "inspect": (
        Listing(
            "revisions",
            "Inspected revisions",
            (
                Row("id", "Revision"),
                Row("rms_mm", "RMS deviation", "mm", 3),
                Row("p95_mm", "95th percentile", "mm", 3),
                Row("within_tolerance_pct", "Within tolerance", "%", 1),
                Row("scale_error_pct", "Scale error", "%", 2),
                Row("decision", "Decision"),
            ),
        ),
    ),
    "followup": (
        Listing(
            "timepoints",
            "Follow-up",
            (
                Row("id", "Time point"),
                Row("months", "Months", "", 0),
                Row("baseline", "Baseline"),
                Row("migration_mm", "Migration", "mm", 2),
                Row("rotation_deg", "Rotation", "°", 2),
                Row("repeatability_mm", "Repeatability", "mm", 2),
            ),
        ),
    ),
}
