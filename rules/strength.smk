# Strength before the lattice exists (solid: sizes the strut) and with it (final: judges the result).


rule size_strut:
    """Effective stiffness of the cell, and the implant under load with it as a homogeneous medium."""
    input:
        implant="results/{case}/implant/implant.stl",
        regions="results/{case}/implant/regions.json",
        implant_json="results/{case}/implant/implant.json",
    output:
        strength="results/{case}/strength/solid/strength.json",
        view="results/{case}/strength/solid/view.npz",
    log:
        "results/{case}/logs/size_strut.log",
    benchmark:
        "results/{case}/benchmarks/size_strut.tsv"
    threads: 2
    params:
        case_dir=case_dir,
        settings=section("strength", "lattice"),
        code=code("strength.stage"),
    script:
        "../scripts/size_strut.py"


rule check_strength:
    """The implant with the field that will be printed, under the loads of the case."""
    input:
        field="results/{case}/lattice/field.json",
        field_data="results/{case}/lattice/field.npz",
        regions="results/{case}/implant/regions.json",
        implant="results/{case}/implant/implant.stl",
        strength_solid="results/{case}/strength/solid/strength.json",
    output:
        strength="results/{case}/strength/final/strength.json",
        view="results/{case}/strength/final/view.npz",
    log:
        "results/{case}/logs/check_strength.log",
    benchmark:
        "results/{case}/benchmarks/check_strength.tsv"
    params:
        case_dir=case_dir,
        settings=section("strength", "lattice"),
        code=code("strength.stage"),
    script:
        "../scripts/check_strength.py"
