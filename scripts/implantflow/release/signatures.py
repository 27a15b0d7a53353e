"""The signatures behind a release: the envelopes that opened its gates, checked once more and copied."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from implantflow.artifacts import write_json
from implantflow.errors import ReviewError
from implantflow.review.gate import SHUT, GateRecord
from implantflow.review.record import record_bytes
from implantflow.review.statement import open_envelope, signing_key_id


def write_signatures(folder: Path, gates: Mapping[str, GateRecord]) -> str:
    """Copy every envelope that counted to ``folder`` and say in ``gates.json`` how each gate was passed.

    Returns
    -------
    str
        One sentence for the release's record.

    Raises
    ------
    ReviewError
        An envelope is not by its key, approves other files, or is not the record that was counted.
    """
    folder.mkdir(parents=True)
    count = 0
    told = []
    for path, gate in sorted(gates.items()):
        names = []
        for envelope in gate.envelopes:
            names.append(_copy(folder, path, gate, envelope))
        count += len(names)
        told.append(
            {
                "gate": gate.gate,
                "item": gate.item,
                "path": path,
                "decision": gate.decision,
                "unsigned": gate.unsigned,
                "subjects": gate.subjects,
                "envelopes": names,
                "public_keys": gate.public_keys,
            }
        )
    write_json(folder / "gates.json", {"gates": told})
    unsigned = [gate.gate for gate in gates.values() if gate.unsigned]
    opened = sum(gate.decision not in SHUT for gate in gates.values())
    if unsigned:
        return f"{len(unsigned)} of {opened} open gates passed unsigned, by policy; {count} envelopes"
    return f"all {opened} open gates signed; {count} envelopes"


def _copy(folder: Path, path: str, gate: GateRecord, envelope: dict[str, Any]) -> str:
    """Write one envelope under the name of its record, with the bytes it was signed and counted with."""
    data = record_bytes(envelope)
    digest = hashlib.sha256(data).hexdigest()
    record = next((r.record for r in gate.records if r.counted and r.sha256 == digest), None)
    if record is None:
        raise ReviewError("an envelope in a gate's record is not the one that was counted", where=path)
    public_key = gate.public_keys.get(signing_key_id(envelope))
    if public_key is None:
        raise ReviewError("signed with a key that the gate's record does not hold", where=path)
    statement = open_envelope(envelope, public_key)
    if statement.predicate.decision != "approve" or statement.subjects != gate.subjects:
        raise ReviewError("a signature does not approve the files of its gate", where=path)
    (folder / record).write_bytes(data)
    return record
