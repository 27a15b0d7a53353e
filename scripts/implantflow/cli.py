"""The commands of ``python -m implantflow``; each imports what it needs, so that `--help` is instant."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from implantflow import __version__, failures
from implantflow.errors import ImplantflowError, InputError


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse ``arguments`` (default: the command line), run one command, return its exit code.

    Exit code 0 only when the output is right; errors are one message without a traceback.
    """
    try:
        options = _parse(list(sys.argv[1:] if arguments is None else arguments))
        result: int = options.run(options)
        return result
    except ImplantflowError as error:
        return _told(error)
    except BrokenPipeError:
        return 0
    except KeyboardInterrupt:
        print("implantflow: interrupted", file=sys.stderr)
        return 130
    except (OSError, MemoryError) as error:
        return _told(failures.of_command(error))


def _told(error: ImplantflowError) -> int:
    print(f"implantflow: ERROR: {error}", file=sys.stderr)
    return error.exit_code


def _parse(arguments: list[str]) -> argparse.Namespace:
    """All options of a command; of one that parses its own, `-h` included, the command and the rest as it is."""
    own = arguments[:1] if arguments[:1] in (["review"], ["pacs"]) else arguments
    options = _parser().parse_args(own)
    options.rest = arguments[1:]
    return options


class _Parser(argparse.ArgumentParser):
    """A parser that refuses none, or two, of several ways to do one thing as an input error like any other."""

    def error(self, message: str) -> NoReturn:
        if "one of the arguments" in message or "not allowed with" in message:
            raise InputError(
                message, where="command line", fix=f"give one; `{self.prog} --help` explains each"
            )
        super().error(message)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="implantflow", description=__doc__)
    parser.add_argument("--version", action="version", version=f"implantflow {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    new_case = commands.add_parser("new-case", help="write a commented case config from DICOM folders")
    new_case.add_argument("case", help="neutral name of the case, never the patient's")
    new_case.add_argument("dicom", nargs="+", type=Path, help="folders with DICOM files")
    new_case.add_argument("--out", type=Path, default=None, help="default config/cases/CASE.yaml")
    new_case.add_argument(
        "--until",
        choices=("segment", "tumour", "plan", "prototype", "build"),
        default="build",
        help="last stage to fill in now; the sections of later ones are written as comments (default: build)",
    )
    new_case.set_defaults(run=_new_case)

    ingest = commands.add_parser("ingest", help="one DICOM series -> volume.nii.gz and manifest.json")
    ingest.add_argument("dicom", type=Path)
    ingest.add_argument("out", type=Path)
    ingest.add_argument(
        "--series", default=None, help="which series, as the refusal's table names it, when there are several"
    )
    ingest.add_argument(
        "--resample",
        action="store_true",
        help="bring a tilted or unevenly spaced series onto a regular grid (refused otherwise); what was not "
        "measured is marked in invented.nii.gz",
    )
    ingest.set_defaults(run=_ingest)

    segment = commands.add_parser("segment", help="CT volume -> labels.nii.gz and one STL per bone")
    segment.add_argument("volume", type=Path)
    segment.add_argument("out", type=Path)
    segment.add_argument("--threshold", type=float, required=True, help="HU; voxels >= it count as bone")
    prior = segment.add_mutually_exclusive_group(required=True)
    prior.add_argument("--atlas", type=Path, help="folder of the pelvis atlas; its pose is searched")
    prior.add_argument(
        "--landmarks",
        type=Path,
        help="JSON: name -> LPS mm, or 3D Slicer markups; they pose the project's template",
    )
    prior.add_argument("--labels", type=Path, help="label map to surface instead of cutting")
    segment.set_defaults(run=_segment)

    slice_ = commands.add_parser("slice", help="watertight STL in mm -> build.cli and checks.json")
    slice_.add_argument("solid", type=Path)
    slice_.add_argument("out", type=Path)
    slice_.add_argument("--lattice", default=None, help="cell that fills the solid, e.g. diamond, gyroid")
    slice_.add_argument("--cell-mm", type=float, default=None)
    slice_.add_argument("--strut-mm", type=float, default=None)
    slice_.add_argument("--layer-mm", type=float, default=None, help="default: the machine's")
    slice_.add_argument("--machine", default="arcam-a1")
    slice_.set_defaults(run=_slice)

    review = commands.add_parser("review", help="sign a decision at a gate, or make a key (review keygen)")
    review.set_defaults(run=_review)

    verify = commands.add_parser("verify", help="re-hash a case and walk its ledger")
    verify.add_argument("case_dir", type=Path)
    verify.add_argument("--json", action="store_true", help="print the result as JSON")
    verify.add_argument("--site", type=Path, default=None, help="site.yaml whose reviewers must have signed")
    verify.set_defaults(run=_verify)

    archive = commands.add_parser("archive", help="pack a case that verifies into one file to keep")
    archive.add_argument("case_dir", type=Path)
    archive.add_argument("out", type=Path, help="CASE.tar.gz")
    archive.set_defaults(run=_archive)

    unarchive = commands.add_parser("unarchive", help="unpack such a file and verify the case")
    unarchive.add_argument("archive", type=Path)
    unarchive.add_argument("folder", type=Path, nargs="?", default=Path("results"), help="default: results")
    unarchive.set_defaults(run=_unarchive)

    pacs = commands.add_parser("pacs", help="find, fetch and send studies of an image archive")
    pacs.set_defaults(run=_pacs)

    report = commands.add_parser("report", help="render whatever exists of a case, also after a failure")
    report.add_argument("case")
    report.set_defaults(run=_report)

    cohort = commands.add_parser("cohort", help="render the table over cases")
    cohort.add_argument("cases", nargs="*", help="default: every case with results")
    cohort.set_defaults(run=_cohort)

    run = commands.add_parser("run", help="repeat one job without Snakemake")
    run.add_argument("job", type=Path, help="results/CASE/logs/RULE.job.json")
    run.set_defaults(run=_run)

    docs = commands.add_parser("config-docs", help="write the schema and the page of every config key")
    docs.set_defaults(run=_config_docs)

    times = commands.add_parser("times", help="print time and peak memory per stage of a finished case")
    times.add_argument("case_dir", type=Path)
    times.set_defaults(run=_times)
    return parser


def _new_case(options: argparse.Namespace) -> int:
    from implantflow.newcase import write_case

    path = write_case(options.case, options.dicom, options.out, until=options.until)
    lines = path.read_text(encoding="utf-8").splitlines()
    wanted = sum(line.endswith("# REQUIRED") and not line.startswith("#") for line in lines)
    print(path)
    print(
        f"next: fill in the {wanted} keys marked REQUIRED and the one that segment.prior.kind then needs\n"
        "(config/cases/vhf.yaml is a filled-in example), then\n"
        f"  snakemake report --cores 2 --config cases={options.case}\n"
        "A first look at the bones needs no config: docs/first-patient.md, step 2.",
        file=sys.stderr,
    )
    return 0


def _ingest(options: argparse.Namespace) -> int:
    from implantflow.artifacts import temporary, write_json
    from implantflow.ingest.read import require_folder, take_series
    from implantflow.volumes import write_volume

    require_folder(options.dicom)
    found = take_series(options.dicom, options.series, resample=options.resample)
    volume, mask = options.out / "volume.nii.gz", options.out / "invented.nii.gz"
    with temporary(volume) as draft, temporary(options.out / "manifest.json") as manifest:
        write_volume(draft, found.volume)
        write_json(manifest, found.manifest)
        if found.invented is None:
            mask.unlink(missing_ok=True)  # of an earlier run: it would speak of another volume
        else:
            write_volume(mask, found.invented)
    count, spacing = found.manifest["n_slices"], found.manifest["spacing_mm"]
    print(f"{volume}: {count} slices, spacing {spacing} mm")
    for note in found.manifest["notes"]:
        if note.startswith("DOUBT"):
            print(f"implantflow: {note}", file=sys.stderr)
    if found.invented is not None:
        print(f"{mask}: {100 * found.manifest['invented']['share']:.2f} % of the voxels were not measured")
    return 0


def _segment(options: argparse.Namespace) -> int:
    from implantflow.segment.command import TEMPLATE, segment_file, settings_of

    prior = {"atlas": options.atlas, "landmarks": options.landmarks, "labels": options.labels}
    settings_of(options.volume, options.threshold, **prior)  # what is wrong is said before a template is made
    with tempfile.TemporaryDirectory() as folder:
        template = TEMPLATE
        if options.landmarks is not None and not TEMPLATE.exists():
            template = _made_template(Path(folder))
        for path in segment_file(options.volume, options.out, options.threshold, **prior, template=template):
            print(path)
    return 0


def _made_template(folder: Path) -> Path:
    """What the rule make_template makes, for this run only: under its own name, only a recorded job may leave it."""
    from implantflow.artifacts import write_npz
    from implantflow.phantom.template import template_arrays

    print("making the project's template: about 20 s", file=sys.stderr)
    path = folder / "template.npz"
    write_npz(path, template_arrays(os.cpu_count() or 1))
    return path


def _slice(options: argparse.Namespace) -> int:
    from implantflow.build.command import slice_solid

    slice_solid(
        options.solid,
        options.out,
        lattice=options.lattice,
        cell_mm=options.cell_mm,
        strut_mm=options.strut_mm,
        layer_mm=options.layer_mm,
        machine=options.machine,
    )
    print(options.out / "build.cli")
    return 0


def _review(options: argparse.Namespace) -> int:
    from implantflow.review.command import main as review_main

    return review_main(options.rest)


def _pacs(options: argparse.Namespace) -> int:
    from implantflow.dicom.pacs_command import main as pacs_main

    return pacs_main(options.rest)


def _verify(options: argparse.Namespace) -> int:
    from implantflow.audit.verify import human, verify_case

    registry = None
    if options.site is not None:
        from implantflow.config.load import load
        from implantflow.config.site import SiteConfig

        registry = load(SiteConfig, options.site).reviewers
    result = verify_case(options.case_dir, registry=registry)
    print(json.dumps(result, indent=2) if options.json else human(result))
    return 0 if result["verified"] else 8


def _archive(options: argparse.Namespace) -> int:
    from implantflow.audit.archive import pack

    done = pack(options.case_dir, options.out)
    size = options.out.stat().st_size
    print(
        f"{options.out}: {done['files']} files, {done['bytes'] / 1e6:.0f} MB in {size / 1e6:.0f} MB, "
        f"sha256 {done['sha256']}"
    )
    return 0


def _unarchive(options: argparse.Namespace) -> int:
    from implantflow.audit.archive import unpack
    from implantflow.audit.verify import human

    folder, result = unpack(options.archive, options.folder)
    print(f"{folder}\n{human(result)}")
    return 0


def _report(options: argparse.Namespace) -> int:
    from implantflow.report.command import open_points, render

    print(f"{options.case}: {render(options.case)}")
    for line in open_points(options.case):
        print(line)
    return 0


def _cohort(options: argparse.Namespace) -> int:
    from implantflow.report.cohort import render_cohort

    print(render_cohort(options.cases))
    return 0


def _run(options: argparse.Namespace) -> int:
    from implantflow.jobs import run_json

    run_json(options.job)
    return 0


def _config_docs(options: argparse.Namespace) -> int:
    from implantflow.config.docs import write_docs

    for path in write_docs(Path()):
        print(path)
    return 0


def _times(options: argparse.Namespace) -> int:
    from implantflow.benchmarks import table

    print(table(options.case_dir))
    return 0
