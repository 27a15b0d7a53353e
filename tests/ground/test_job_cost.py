"""CPU time and memory of a job are its own count; Snakemake's samples stand in where a log has none."""

from __future__ import annotations

from pathlib import Path

from implantflow import benchmarks

HEAD = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\n"


def test_the_log_counts_more_than_the_samples(tmp_path: Path) -> None:
    for folder in ("benchmarks", "logs"):
        (tmp_path / folder).mkdir()
    for job in ("a", "b"):
        (tmp_path / f"benchmarks/{job}.tsv").write_text(
            HEAD + "44.18\t0:00:44\t776.58\t1\t1\t1\t0\t0\t24.4\t11.06\n"
        )
    (tmp_path / "logs/a.log").write_text(
        "2026-11-27 05:13:06,846 INFO used 1.00 CPU-s, 10 MB at most\n"
        "2026-11-27 06:13:06,846 INFO done in 42.4 s\n"
        "2026-11-27 06:13:06,846 INFO used 61.34 CPU-s, 802 MB at most\n"
        "2026-11-27 06:13:06,847 INFO recorded in 0.153 s\n"
    )
    a, b = benchmarks.read(tmp_path)
    assert (a["job"], a["wall_s"], a["cpu_s"], a["peak_rss_mb"]) == ("a", 44.18, 61.34, 802.0)
    assert (b["job"], b["cpu_s"], b["peak_rss_mb"]) == ("b", 11.06, 776.58)
