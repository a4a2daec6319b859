"""The most confidently wrong pictures beside their Grad-CAM, carried inside the page."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graftwork.common.report.formatting import NOT_AVAILABLE, count, score, shortened

if TYPE_CHECKING:
    from graftwork.common.report.run.run_facts import Facts


PICTURES = 1_200_000  # bytes of pictures on a page; further ones are left out and the page says so


@dataclass(frozen=True)
class Mistake:
    """One confidently wrong case: two `data:` addresses (or empty ones, and why) and its captions."""

    picture: str
    cam: str
    alt: str
    cam_alt: str
    called: str
    truth: str
    origin: str
    absent: str = "picture not kept"


def mistakes_sentence(facts: Facts) -> str:
    """What the pictures are, or that there are none."""
    n = len(facts.mistakes)
    if facts.judges_further:
        first = shortened(facts.manifest.target.name, 60)
        return f"Left out: the pictures that the run kept are of its first target, {first}."
    if not n:
        return (
            f"None: the run kept no wrong {facts.picture} of the test part "
            f"(wrong: called another class than the true one)."
        )
    which = (
        f"The {count(n, facts.picture)} of the test part that were called wrongly with the highest scores"
        if n > 1
        else f"The one {facts.picture} of the test part that was called wrongly"
    )
    return (
        f"{which}, as the network saw {'them, each' if n > 1 else 'it,'} beside its Grad-CAM (Selvaraju et al. 2017): "
        "bright is where the picture spoke for the class that was called. It shows where, not why."
    )


def mistakes_of(facts: Facts) -> list[Mistake]:
    """The pictures with captions, as many as the page has room for."""
    room, found = PICTURES, []
    for entry in () if facts.judges_further else facts.mistakes:
        picture, cam = (picture_uri(facts.folder / "mistakes", entry.get(key)) for key in ("picture", "cam"))
        fits = len(picture) + len(cam) <= room
        room -= len(picture) + len(cam) if fits else 0
        case = shortened(facts.scrub(str(entry.get("case", ""))), 60)
        group = shortened(facts.scrub(str(entry.get("group", ""))), 40)
        called, truth = (
            shortened(str(entry.get("predicted")), 40),
            shortened(str(entry.get("target")), 40),
        )
        value = score(float(entry["score"])) if isinstance(entry.get("score"), int | float) else NOT_AVAILABLE
        found.append(
            Mistake(
                picture=picture if fits else "",
                cam=cam if fits else "",
                alt=f"{facts.picture.capitalize()} {case}: called {called} with score {value}, in truth {truth}.",
                cam_alt=f"Grad-CAM of {case} for {called}, laid over the {facts.picture}.",
                called=f"called {called}, score {value}",
                truth=f"in truth {truth}",
                origin=f"{facts.group} {group}, case {case}",
                absent="picture not kept" if fits else "left out: the page is full",
            )
        )
    return found


def picture_uri(folder: Path, name: Any) -> str:
    """A small JPEG or PNG as a `data:` address; empty where it is missing or something else."""
    if not isinstance(name, str) or not name or Path(name).name != name:
        return ""
    try:
        content = (folder / name).read_bytes()
    except OSError:
        return ""
    kinds = {b"\xff\xd8\xff": "image/jpeg", b"\x89PN": "image/png"}
    kind = kinds.get(content[:3])
    return f"data:{kind};base64,{base64.b64encode(content).decode()}" if kind else ""
