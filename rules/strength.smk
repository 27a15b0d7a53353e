# Strength of the cell alone, before the lattice exists (solid: sizes the strut) and with it (final: judges the result).

from implantflow.config.strength import CellConfig


def cell_settings(wildcards):
    """What the cell depends on: other loads or limits make no other cell, and no other lattice."""
    case = CASES[wildcards.case]
    return {
        "strength": case.strength.model_dump(
            mode="json", include=set(CellConfig.model_fields)
        ),
        "lattice": case.lattice.model_dump(
            mode="json", include={"cell", "cell_mm", "strut_mm", "porosity"}
        ),
    }


def screws_of(wildcards):
    """The plan, where rods and screws share the load."""
    shared = CASES[wildcards.case].strength.fixation is not None
    return f"{plan_in_force(wildcards)}/plan.json" if shared else []


def rods_of(wildcards):
    """The planned construct, where its rods share the load."""
    shared = CASES[wildcards.case].strength.fixation
    if shared is None or shared.rods is not None:
        return []
    return f"{plan_in_force(wildcards)}/construct.json"


rule homogenise_cell:
    """Effective stiffness of the lattice cell and the stress in its struts."""
    output:
        cell="results/{case}/strength/cell.json",
        cell_data="results/{case}/strength/cell.npz",
    log:
        "results/{case}/logs/homogenise_cell.log",
    benchmark:
        "results/{case}/benchmarks/homogenise_cell.tsv"
    group:
        "implant"
    resources:
        mem_mb=memory("homogenise_cell"),
        runtime=minutes("homogenise_cell"),
    params:
        case_dir=case_dir,
        settings=cell_settings,
        code=code("strength.stage"),
    script:
        "../scripts/homogenise_cell.py"


rule size_strut:
    """The implant under load, its lattice as a homogeneous medium."""
    input:
        cell="results/{case}/strength/cell.json",
        cell_data="results/{case}/strength/cell.npz",
        implant="results/{case}/implant/implant.stl",
        regions="results/{case}/implant/regions.json",
        implant_json="results/{case}/implant/implant.json",
        plan=screws_of,
        construct=rods_of,
    output:
        strength="results/{case}/strength/solid/strength.json",
        view="results/{case}/strength/solid/view.npz",
    log:
        "results/{case}/logs/size_strut.log",
    benchmark:
        "results/{case}/benchmarks/size_strut.tsv"
    group:
        "implant"
    resources:
        mem_mb=memory("size_strut"),
        runtime=minutes("size_strut"),
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
        cell="results/{case}/strength/cell.json",
        cell_data="results/{case}/strength/cell.npz",
        regions="results/{case}/implant/regions.json",
        implant="results/{case}/implant/implant.stl",
        strength_solid="results/{case}/strength/solid/strength.json",
        plan=screws_of,
        construct=rods_of,
    output:
        strength="results/{case}/strength/final/strength.json",
        view="results/{case}/strength/final/view.npz",
    log:
        "results/{case}/logs/check_strength.log",
    benchmark:
        "results/{case}/benchmarks/check_strength.tsv"
    group:
        "implant"
    resources:
        mem_mb=memory("check_strength"),
        runtime=minutes("check_strength"),
    params:
        case_dir=case_dir,
        settings=section("strength", "lattice"),
        code=code("strength.stage"),
    script:
        "../scripts/check_strength.py"


def calculix_files(name):
    strength = CASES[name].strength
    if strength is None or not strength.calculix:
        return []
    return [f"results/{name}/strength/final/calculix.json"]


rule check_calculix:
    """The same implant and loads, solved by CalculiX, where the case asks for it."""
    input:
        field="results/{case}/lattice/field.json",
        field_data="results/{case}/lattice/field.npz",
        cell="results/{case}/strength/cell.json",
        cell_data="results/{case}/strength/cell.npz",
        regions="results/{case}/implant/regions.json",
        implant="results/{case}/implant/implant.stl",
    output:
        calculix="results/{case}/strength/final/calculix.json",
    log:
        "results/{case}/logs/check_calculix.log",
    benchmark:
        "results/{case}/benchmarks/check_calculix.tsv"
    group:
        "implant"
    resources:
        mem_mb=memory("check_calculix"),
        runtime=minutes("check_calculix"),
    params:
        case_dir=case_dir,
        settings=section("strength", "lattice"),
        code=code("strength.stage"),
    script:
        "../scripts/check_calculix.py"
