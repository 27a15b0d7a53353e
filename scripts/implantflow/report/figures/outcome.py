"""Pictures that the later stages drew themselves: the print against its design, the follow-up scans."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from implantflow.report.figures import base
from implantflow.report.figures.base import Context, Figure, Image

#: File name without suffix -> title and caption; a picture not named here is shown with its own name.
_TOLD: dict[str, tuple[str, str]] = {
    "deviation": (
        "Print against design",
        "Signed distance of the scanned print from the designed metal after rigid alignment: + outside, - inside. "
        "Grey was not scanned.",
    ),
    "machined": (
        "Machined part against design",
        "The part after machining, laid on the finished design by its surfaces as built: + metal left, - cut too deep. "
        "Grey was not scanned.",
    ),
    "axial": (
        "Axial slice through implant and mid-plane",
        "Metal and bone window. The dense midline strut and the porous face towards the ilium are marked.",
    ),
    "coronal": ("Coronal slice through the implant", "Metal and bone window of the same scan."),
    "sagittal": ("Sagittal slice through the implant", "Metal and bone window of the same scan."),
    "faces": (
        "Contact faces",
        "What lies between each face of the implant and the bone it should meet, over the face.",
    ),
}


def _read(context: Context, relative: str) -> Image:
    from PIL import Image as PillowImage

    with PillowImage.open(context.files.path(relative)) as picture:
        return np.asarray(picture.convert("RGB"), dtype=np.uint8)


def pictures_of(parent: str, key: str) -> Callable[[Context], list[Figure]]:
    """A drawer that shows every picture below ``{parent}/{id}/`` of the case, as the stage drew it."""

    def draw(context: Context) -> list[Figure]:
        entries = context.summary[parent].get(key) or []
        found = []
        for name in (str(e.get("id", e.get("name"))) for e in entries):
            folder = context.files.path(f"{parent}/{name}")
            for path in sorted(folder.glob("*.png")):
                title, caption = _TOLD.get(path.stem, (path.stem.replace("_", " "), "As the stage drew it."))
                stamp = "SIMULATED SCAN" if context.files.is_simulated(parent) else ""
                found.append(
                    base.finish(
                        context,
                        f"{parent}-{name}-{path.stem}",
                        f"{title}: {name}",
                        caption,
                        f"{title}, {name}.",
                        _read(context, f"{parent}/{name}/{path.name}"),
                        # Slices of scans and shaded parts: a quarter of the page's weight as PNG.
                        photo=path.stem != "faces",
                        stamp=stamp,
                    )
                )
        return found

    draw.__name__ = f"{parent}_pictures"
    return draw
