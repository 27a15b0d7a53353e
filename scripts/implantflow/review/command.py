"""The commands ``review CASE ITEM`` (sign a decision) and ``review keygen`` (make a key pair)."""

from __future__ import annotations

import argparse
import contextlib
import getpass
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, get_args

from pydantic import ValidationError

from implantflow import artifacts
from implantflow.audit import ledger
from implantflow.audit.history import History, mapping, read_history
from implantflow.config.load import load, read_yaml
from implantflow.config.site import Reviewer, Role, SiteConfig
from implantflow.errors import ConfigError, ProvenanceError, ReviewError
from implantflow.review import keys
from implantflow.review.inspection import REJECTED_FIX, read_inspection
from implantflow.review.record import write_record
from implantflow.review.revise import NextIteration, next_iteration
from implantflow.review.statement import MEANINGS, Decision, LedgerHead, Review, make_statement, seal
from implantflow.review.subjects import WHOLE_CASE_ITEMS, check_name, gate_of, inspections, subjects_of

AskPassphrase = Callable[[], bytes]

SITE_CONFIG = Path("config/site.yaml")
CASES = Path("config/cases")


def main(arguments: Sequence[str]) -> int:
    """``review CASE ITEM ...`` and ``review keygen ...``; run from the project's folder."""
    if arguments and arguments[0] == "keygen":
        return _keygen_main(arguments[1:])
    parser = argparse.ArgumentParser(
        prog="implantflow review",
        description="Sign a decision about the files of ITEM as they are now.",
        epilog="`implantflow review keygen KEYFILE --id ID --name NAME --role ROLE` makes a key pair; "
        "`implantflow review keygen --help` lists its options.",
    )
    parser.add_argument("case")
    parser.add_argument("item", help="labels, design, release, or the id of a prototype iteration")
    parser.add_argument("--decision", required=True, choices=get_args(Decision))
    parser.add_argument("--reason", required=True, help="why; kept in the record for ever")
    parser.add_argument("--key", required=True, type=Path, help="your private key file")
    parser.add_argument(
        "--corrections",
        type=Path,
        help="with revise: YAML file with corrections and questions (and plan, where it changes); the next iteration "
        "is written into config/cases/CASE.yaml",
    )
    options = parser.parse_args(arguments)
    path = sign(
        options.case,
        options.item,
        options.decision,
        options.reason,
        options.key,
        site=load(SiteConfig, SITE_CONFIG),
        corrections=options.corrections,
        ask_passphrase=lambda: getpass.getpass("passphrase of the key: ").encode(),
    )
    print(f"signed: {path}")
    if options.corrections is not None:
        print(f"the next iteration was added to {CASES / options.case}.yaml; look at it before you run it")
    print(f"now run snakemake again; the gate checks all records of {options.item}")
    return 0


def _keygen_main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="implantflow review keygen",
        description="Make a key pair. The private key stays with the person, outside any project folder.",
    )
    parser.add_argument("keyfile", type=Path)
    parser.add_argument("--id", required=True, help="short name, e.g. a_weber")
    parser.add_argument("--name", required=True, help="full name")
    parser.add_argument("--role", required=True, choices=get_args(Role))
    parser.add_argument(
        "--no-passphrase", action="store_true", help="leave the key file unencrypted (tests, tokens)"
    )
    options = parser.parse_args(arguments)
    passphrase = None if options.no_passphrase else _new_passphrase()
    entry = keygen(options.keyfile, options.id, options.name, options.role, passphrase=passphrase)
    print(
        f"# private key: {options.keyfile} (keep it to yourself)\n"
        f"# In {SITE_CONFIG} replace the line `reviewers: []` by all lines below. Where reviewers are listed already,\n"
        "# put the lines below `reviewers:` after the last of them."
    )
    print(f"reviewers:\n{entry}", end="")
    return 0


def _new_passphrase() -> bytes:
    first = getpass.getpass("new passphrase: ")
    if not first or first != getpass.getpass("once more: "):
        raise ReviewError("the passphrase is empty or was not repeated", fix="try again, or --no-passphrase")
    return first.encode()


def sign(
    case: str,
    item: str,
    decision: Decision,
    reason: str,
    key: Path,
    *,
    site: SiteConfig,
    approved: str | None = None,
    results: Path = Path("results"),
    reviews: Path = Path("config/reviews"),
    corrections: Path | None = None,
    cases: Path = CASES,
    ask_passphrase: AskPassphrase | None = None,
    now: datetime | None = None,
) -> Path:
    """Sign a decision about the files of ``item`` as they are now.

    Parameters
    ----------
    item : str
        ``labels``, ``design``, ``release`` or the id of a prototype iteration.
    reason : str
        Why; becomes part of the record for ever.
    key : Path
        The person's private key file; the person is found in the site's registry by it.
    approved : str, optional
        Approved iteration, for ``design``; read from the ledger when not given. Which revision ``release``
        is about is read there as well.
    corrections : Path, optional
        With ``revise`` of an iteration: what is asked for (:class:`~implantflow.review.revise.CorrectionsFile`). The
        next iteration is written into the case config once the decision is signed.
    ask_passphrase : callable, optional
        Called when the key file is encrypted.

    Returns
    -------
    Path
        The new record ``{reviews}/{case}/{item}.{n}.dsse.json``.

    Raises
    ------
    ReviewError
        There is no such case or item, a file to review does not exist yet, the key is not registered or not valid,
        the reason is empty, or a print that its inspection rejected would be approved.
    ProvenanceError
        A file is not what the job that made it wrote: nobody should sign that.
    """
    case_dir = results / check_name(case, "case")
    gate = gate_of(item)
    _require_known(case_dir, cases / f"{case}.yaml", item)
    if decision not in get_args(Decision):
        raise ReviewError(f"no decision: {decision!r}", fix="write approve, revise or reject")
    following = _following(case, gate, item, decision, corrections, cases)
    moment = (now or datetime.now(UTC)).astimezone(UTC)
    passphrase = ask_passphrase() if ask_passphrase and keys.is_encrypted(key) else None
    private_key = keys.read_private_key(key, passphrase)
    reviewer = _registered(keys.public_hex(private_key), site, moment.date())
    history = read_history(ledger.read(case_dir))
    revision, machined = put_forward(history)
    names = subjects_of(item, approved or approved_iteration(history), revision, machined=machined)
    subjects = _subjects(case_dir, names, history)
    if gate == "release" and decision == "approve":
        for name in inspections(names):
            _refuse_rejected(case_dir / name)
    head = ledger.read_head(case_dir)
    try:
        review = Review(
            case=case,
            gate=gate,
            item=item,
            decision=decision,
            reason=reason.strip(),
            reviewer=reviewer.id,
            name=reviewer.name,
            role=reviewer.role,
            meaning=MEANINGS[decision],
            time=moment.strftime("%Y-%m-%dT%H:%M:%SZ"),
            ledger=LedgerHead(**head._asdict()) if head else None,
        )
    except ValidationError as error:
        raise ReviewError(
            f"not a valid review: {error.errors(include_url=False)[0]['msg']}",
            where="--reason",
            fix="give a reason of 1 to 2000 characters",
        ) from error
    path = write_record(reviews, case, item, seal(make_statement(subjects, review), private_key))
    entry = _ledger_entry(review, subjects, path)
    if following is not None and corrections is not None:
        entry |= {"next_iteration": following.id, "corrections_sha256": artifacts.sha256_file(corrections)}
    ledger.append(case_dir, entry)
    if following is not None:
        following.write()
    return path


def _require_known(case_dir: Path, config: Path, item: str) -> None:
    """Refuse a case or an item that is none: otherwise a slip of the pen reads as a gate not yet reached."""
    if not case_dir.is_dir() and not config.is_file():
        there = sorted(p.name for p in case_dir.parent.glob("*/") if (p / "audit").is_dir())
        raise ReviewError(
            f"there is no case '{case_dir.name}'",
            where=f"{case_dir}, {config}",
            fix=f"cases with results: {', '.join(there) or 'none'}",
        )
    iterations = {p.name for p in (case_dir / "prototype").glob("*/")}
    with contextlib.suppress(ConfigError, LookupError, TypeError):
        iterations |= {str(entry["id"]) for entry in read_yaml(config)["prototype"]["iterations"]}
    if item not in iterations and item not in WHOLE_CASE_ITEMS:
        raise ReviewError(
            f"case '{case_dir.name}' has no item '{item}'",
            where=f"{case_dir}, {config}",
            fix=f"its items: {', '.join([*WHOLE_CASE_ITEMS, *sorted(iterations)])}",
        )


def _following(
    case: str, gate: str, item: str, decision: Decision, corrections: Path | None, cases: Path
) -> NextIteration | None:
    """The next iteration, checked before anything is signed; None when no corrections are given."""
    if corrections is None:
        return None
    if decision != "revise" or gate != "review":
        raise ReviewError(
            "corrections are for a prototype iteration that is sent back",
            where="--corrections",
            fix="use --decision revise on an iteration, or leave --corrections out",
        )
    return next_iteration(cases / f"{case}.yaml", item, corrections)


def keygen(path: Path, reviewer_id: str, name: str, role: Role, *, passphrase: bytes | None = None) -> str:
    """Make a key pair; return the registry entry (YAML) for ``reviewers:`` in config/site.yaml.

    Raises
    ------
    ReviewError
        The file exists or lies in a project, or id, name or role are not valid.
    """
    try:
        entry = Reviewer(
            id=reviewer_id,
            name=name,
            role=role,
            public_key="0" * 64,
            valid_from=datetime.now(UTC).date(),
        )
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        raise ReviewError(
            f"{problem['loc'][0]}: {problem['msg']}", fix=f"roles: {', '.join(get_args(Role))}"
        ) from error
    public = keys.make_key_pair(path, passphrase)
    return keys.registry_entry(entry.model_copy(update={"public_key": public}))


def approved_iteration(history: History) -> str | None:
    """Iteration from which the implant on disk was made, as its job recorded; None before there is one."""
    writer = history.writers.get("implant/implant.stl")
    for path in writer.inputs if writer else ():
        parts = path.split("/")
        if len(parts) == 3 and parts[0] == "prototype" and parts[2] == "implant.stl":
            return parts[1]
    return None


def put_forward(history: History) -> tuple[str | None, bool]:
    """Build revision that the last release gate was asked about, opened or not, and whether it was machined.

    None before there was one.
    """
    for run in reversed(history.runs):
        gate = mapping(run.settings.get("gate"))
        if gate.get("name") == "release" and gate.get("put_forward") and gate.get("revision"):
            return str(gate["revision"]), bool(gate.get("machined"))
    return None, False


def _refuse_rejected(path: Path) -> None:
    inspection = read_inspection(path)
    if inspection.rejected:
        raise ReviewError(
            f"the inspection rejected the print {inspection.id}: {'; '.join(inspection.reasons)}",
            where=str(path),
            fix=REJECTED_FIX,
        )


def _registered(public_key: str, site: SiteConfig, day: date) -> Reviewer:
    known = next((r for r in site.reviewers if r.public_key == public_key), None)
    if known is None:
        raise ReviewError(
            f"this key is not in the registry (public key {public_key})",
            where="config/site.yaml, reviewers",
            fix="whoever answers for the site adds the entry that `review keygen` printed",
        )
    if known.revoked:
        raise ReviewError(f"the key of {known.name} is revoked", where="config/site.yaml, reviewers")
    if day < known.valid_from or (known.valid_until is not None and day > known.valid_until):
        raise ReviewError(
            f"the key of {known.name} is not valid on {day}, only from {known.valid_from} "
            f"to {known.valid_until or 'further notice'}",
            where="config/site.yaml, reviewers",
        )
    return known


def _subjects(case_dir: Path, names: Sequence[str], history: History) -> dict[str, str]:
    found = {}
    for name in names:
        path = case_dir / name
        if not path.is_file():
            raise ReviewError(
                "a file to be reviewed is not there yet",
                where=str(path),
                fix="run the pipeline up to this gate first",
            )
        found[name] = artifacts.sha256_file(path)
        writer = history.writers.get(name)
        if writer is None or writer.outputs[name] != found[name]:
            raise ProvenanceError(
                "a file to be reviewed is not what a recorded job wrote",
                where=str(path),
                fix=f"`python -m implantflow verify {case_dir}` says more; remove the file and run again",
            )
    return found


def _ledger_entry(review: Review, subjects: dict[str, str], path: Path) -> dict[str, Any]:
    return {
        "event": "review",
        "gate": review.gate,
        "item": review.item,
        "decision": review.decision,
        "reason": review.reason,
        "reviewer": review.reviewer,
        "name": review.name,
        "role": review.role,
        "time": review.time,
        "subjects": subjects,
        "record": path.name,
        "record_sha256": artifacts.sha256_file(path),
    }
