"""The page of one case: sections per stage from the summary, pictures inline, nothing loaded from anywhere."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup

import implantflow
from implantflow.config.site import NOT_CLINICAL
from implantflow.parallel import side_by_side
from implantflow.report.figures.base import Context, Figure
from implantflow.report.figures.collect import Attempt, Pictures, attempt, by_stage, drawings
from implantflow.report.flags import flags_of, sentences, why_done
from implantflow.report.listings_shown import LISTINGS
from implantflow.report.methods import METHODS, SOURCES, TITLES
from implantflow.report.rows import Cell, figure_rows, flatten, headline, listing_rows
from implantflow.report.scene import VIEWS, Scene, build_scene
from implantflow.report.sources import CaseFiles
from implantflow.report.stages import STAGES
from implantflow.report.versions import stage_versions

_HERE = Path(__file__).parent

#: Sign, words and class of each status; never colour alone.
BADGES = {
    "done": ("✓", "done", "good"),
    "awaiting_review": ("◆", "awaiting review", "wait"),
    "awaiting_input": ("◆", "awaiting input", "wait"),
    "not_configured": ("–", "not configured", "off"),
    "failed": ("✕", "failed", "bad"),
}

#: Keys of the summary that are about the stage, not figures of it.
_NOT_FIGURES = {"status", "reason", "next", "failures", "stale", "waits_for"}


@dataclass
class Section:
    """Everything the template needs about one stage."""

    stage: str
    simulated: bool
    has_truth: bool
    title: str
    purpose: str
    status: str
    light: str
    reason: str
    next: str
    stale: bool
    failures: list[dict[str, Any]]
    flags: list[str]
    notes: list[str]
    rows: list[tuple[str, Cell]]
    listings: list[tuple[str, list[str], list[list[Cell]]]]
    headline: str
    limits: str
    methods: str
    sources: str
    versions: str
    rest: list[tuple[str, str]]
    problems: list[str] = field(default_factory=list)
    figures: list[dict[str, Any]] = field(default_factory=list)
    plots: list[dict[str, Any]] = field(default_factory=list)


def banner_of(purpose: str, simulated: bool, virtual_tumour: bool = False) -> str:
    """Words stamped on the page and on every picture; empty only for a clinical case."""
    words = []
    if simulated:
        words.append("SIMULATED PATIENT")
    if virtual_tumour:
        words.append("VIRTUAL TUMOUR")
    if purpose != "clinical":
        words.append(NOT_CLINICAL)
    return " · ".join(words)


def render_page(files: CaseFiles, summary: Mapping[str, Any], processes: int = 1) -> str:
    """HTML of a case.

    Parameters
    ----------
    files : the case folder.
    summary : what :func:`implantflow.report.summary.build_summary` returned.
    processes : how many draw side by side.

    Returns
    -------
    str
        One self-contained page; the same files give the same text.
    """
    banner = banner_of(files.purpose, files.simulated, bool(summary["tumour"].get("virtual")))
    context = Context(files, summary, banner)
    tasks: list[Callable[[], Attempt]] = [partial(attempt, build_scene, "The 3-D scene", context)]
    scene_tried, *drawn = side_by_side(tasks + drawings(context), processes)
    for tried in (scene_tried, *drawn):
        files.note(*tried.unreadable)
    pictures = by_stage(drawn)
    scene: Scene | None = scene_tried.drawn
    versions = stage_versions(files.case_dir)
    sections = [
        _section(stage, summary[stage], files, pictures.get(stage, Pictures()), versions.get(stage, ""))
        for stage in STAGES
    ]
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            case=files.case,
            side=files.side,
            purpose=files.purpose,
            simulated=files.simulated,
            has_truth=files.has_truth,
            images=_images(files),
            banner=banner,
            css=Markup((_HERE / "page.css").read_text(encoding="utf-8")),
            js=Markup((_HERE / "page.js").read_text(encoding="utf-8")),
            sections=sections,
            todo=[s for s in sections if s.status in {"failed", "awaiting_review"}],
            warnings=[f"Unreadable file: {p}" for p in sorted(files.problems)],
            scene=scene,
            views=VIEWS,
            scene_problem=scene_tried.problem,
            # Inside a script element only "<" can end it; as \u003c it is the same JSON.
            scene_source=Markup(json.dumps(scene.html).replace("<", "\\u003c")) if scene else "",
            version=implantflow.__version__,
        )
    )


def _images(files: CaseFiles) -> str:
    if not files.config.get("ingest"):
        return "unknown: no config found"
    if files.made_images is not None:
        return f"simulated ({files.made_images})"
    if files.simulated:
        return "simulated (phantom)"
    made = [
        word
        for word, key in (("print", "print"), ("follow-up", "followup"))
        if files.config.get(f"simulated_{key}")
    ]
    return "of a person, de-identified" + (f"; scans of {' and '.join(made)} simulated" if made else "")


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.globals["badge"] = _badge
    environment.globals["mark"] = _mark
    return environment


def _badge(section: Any) -> Markup:
    sign, words, light = BADGES[section.status]
    return Markup('<span class="badge {}">{} {}</span>').format(light, sign, words)


def _mark(cell: Cell) -> Markup:
    if cell.within is None:
        return Markup("")
    if cell.within:
        return Markup('<span class="ok" title="within the limit">✓ </span>')
    return Markup('<span class="notok" title="outside the limit">✕ outside </span>')


def _section(
    stage: str, data: Mapping[str, Any], files: CaseFiles, pictures: Pictures, versions: str
) -> Section:
    title, purpose = TITLES[stage]
    rows = figure_rows(stage, data, files.config)
    listings = []
    for listing in LISTINGS.get(stage, ()):
        heads, lines = listing_rows(listing, stage, data, files.config)
        if lines:
            listings.append((listing.title, heads, lines))
    status = str(data["status"])
    cells = [c for _, c in rows] + [c for _, _, lines in listings for line in lines for c in line]
    return Section(
        stage=stage,
        simulated=files.is_simulated(stage),
        has_truth=files.has_truth_of(stage),
        title=title,
        purpose=purpose,
        status=status,
        light=BADGES[status][2],
        reason=str(data.get("reason", "")),
        next=str(data.get("next", "")),
        stale=bool(data.get("stale")),
        failures=list(data.get("failures") or [])[1:],
        flags=flags_of(stage, data),
        notes=sentences(data, ("notes", "limitations")),
        rows=rows,
        listings=listings,
        headline=headline(stage, data),
        limits=_limits(cells, why_done(stage, data)),
        methods="" if status == "not_configured" else METHODS[stage],
        sources=SOURCES.get(stage, ""),
        versions=versions,
        rest=flatten({k: v for k, v in data.items() if k not in _NOT_FIGURES}),
        problems=pictures.problems,
        figures=[_encoded(f) for f in pictures.figures],
        plots=[
            {"key": f.key, "caption": f.caption, "markup": Markup(f.data.decode())} for f in pictures.plots
        ],
    )


def _limits(cells: list[Cell], why: str) -> str:
    judged = [c.within for c in cells if c.within is not None]
    if not judged:
        return ""
    outside = judged.count(False)
    return f"{outside} of {len(judged)} outside{why}" if outside else f"all {len(judged)} kept"


def _encoded(figure: Figure) -> dict[str, Any]:
    from PIL import Image

    with Image.open(io.BytesIO(figure.data)) as picture:
        width, height = picture.size
    return {
        "key": figure.key,
        "title": figure.title,
        "caption": figure.caption,
        "alt": figure.alt,
        "mime": figure.mime,
        "base64": base64.b64encode(figure.data).decode(),
        "width": width // figure.frames,
        "frames": figure.frames,
        "height": height,
    }
