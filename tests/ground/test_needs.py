"""What rules ask of a cluster: every rule has a line, and a job gets more on its second attempt."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from implantflow import needs, slurm
from implantflow.errors import MachineError

ROOT = Path(__file__).parents[2]
#: Run where Snakemake runs (localrules of the Snakefile).
LOCAL = {"resolve_config", "gate_labels", "gate_review", "gate_design", "gate_release", "make_traveller"}


def rules() -> dict[str, str]:
    """Name of every rule of rules/*.smk that has a script, with its text."""
    found = {}
    for path in sorted((ROOT / "rules").glob("*.smk")):
        for text in re.split(r"\n(?=\s*rule\b)", path.read_text()):
            name = re.search(r'rule (\w+):|f"(\w+)__\{', text)
            if name and "script:" in text:
                found[name[1] or name[2]] = text
    return found


def test_every_rule_asks_for_its_own_memory_and_time() -> None:
    found = rules()
    assert len(found) > 25
    for name, text in found.items():
        asks = f'memory("{name}")' in text and f'minutes("{name}")' in text
        assert asks != (name in LOCAL), name
    assert set(needs.NEEDS) == set(found) - LOCAL


def test_the_line_follows_the_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(needs.NEEDS, "r", needs.Need(100.0, 10.0, 1.0, 0.1, 40.0))
    folder = tmp_path / "dicom"
    folder.mkdir()
    (folder / "a").write_bytes(b"0" * 20_000_000)
    # 1.5 * (100 + 10 * 20) MB and 2 + 6 * (1 + 0.1 * 20) min, rounded up
    assert needs.memory_mb("r", [str(folder)], 1) == pytest.approx(450, abs=100)
    assert needs.minutes("r", [str(folder)], 1) == pytest.approx(20, abs=1)
    assert needs.memory_mb("r", [str(folder)], 2) == pytest.approx(900, abs=100)
    # An input that another job has yet to make counts as a typical one.
    assert needs.memory_mb("r", [str(folder), str(tmp_path / "later")], 1) == pytest.approx(750, abs=100)


def test_what_fits_no_node_is_named() -> None:
    offered = [slurm.Node("small", 2, 4000), slurm.Node("large", 8, 64000)]
    slurm.check_fit([slurm.Request("a", 8, 64000), slurm.Request("b", 2, 4000, "small")], offered)
    with pytest.raises(MachineError, match="b asks 4 CPUs and 4000 MB") as refused:
        slurm.check_fit([slurm.Request("a", 8, 1), slurm.Request("b", 4, 4000, "small")], offered)
    assert "8 CPUs and 64000 MB" in refused.value.where


def test_no_slurm_no_submission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MachineError, match="Slurm does not answer"):
        slurm.nodes()
