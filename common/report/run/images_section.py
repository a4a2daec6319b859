"""The images of a page: examples of each class, confident errors with Grad-CAM, and masks. All are embedded."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graftwork.common.errors import GraftworkError
from graftwork.common.files import hash_of
from graftwork.common.report.formatting import NOT_AVAILABLE, count, listing, number, score, shortened
from graftwork.common.report.run.data_section import frequent
from graftwork.common.report.section import Image, Section, section
from graftwork.common.wording import plural

if TYPE_CHECKING:
    from graftwork.common.report.run.run_facts import Facts


BYTES = 1_200_000  # of images in one section; further ones are left out, and the page says so
EXAMPLES, THUMBNAIL, PART = (
    8,
    128,
    "test",
)  # images at most for all classes together; pixels of a side; the part
CLASSES = 8  # with example images, the most frequent ones
TRIES = 3  # files that are tried for each example
SAVED_IMAGES = tuple("picture cam".split())  # noqa: SIM905 (the keys of the index files of a run)


def class_examples(facts: Facts) -> Section | None:
    """Thumbnails of each class from the test part, or of a segmentation the images with masks that the run saved."""
    if facts.segments:
        images = mask_images(facts)
        return (
            Section("Example masks", text=(masks_sentence(facts),), images=tuple(images), large=True)
            if images
            else None
        )
    target, frame = facts.target, facts.manifest.frame
    names = [name for name in frequent(facts) if name in target.classes]
    if not names:
        return None
    rows_of = {name: _rows_of(facts, name) for name in names}
    names = sorted(names, key=lambda name: -len(rows_of[name]))[:CLASSES]
    each = max(1, min(3, EXAMPLES // len(names)))
    images, without = [], []
    for name in (name for name in target.classes if name in names):
        found = 0
        for row in rows_of[name][: each * TRIES]:
            source = _thumbnail(facts, row)
            if source and found < each:
                case = shortened(facts.scrub(str(frame["case"].iloc[row])), 60)
                title = shortened(name, 40)
                images.append(
                    Image(source, f"{facts.image.capitalize()} {case} of the class {title}.", title)
                )
                found += 1
        if not found:
            without.append(shortened(name, 40))
    if not images:
        return None
    images_of = plural(facts.image)
    text = f"{images_of.capitalize()} of the {PART} part with their true class, chosen at random."
    if len(names) < len(target.classes):
        text += f" The {len(names)} most frequent of {number(len(target.classes))} classes."
    if without:
        text += f" No readable {facts.image} of {listing(without)}."
    return Section("Examples of each class", text=(text,), images=tuple(images))


def _rows_of(facts: Facts, name: str) -> list[int]:
    """Rows of the test part with a class, in an order that depends on the cases alone; one of each group first."""
    target, frame = facts.target, facts.manifest.frame
    multiple = target.kind == "multi-label"
    column = target.columns[target.classes.index(name) if multiple else 0]
    chosen = (frame[column] == (1 if multiple else name)).to_numpy() & (facts.split.parts == PART).to_numpy()
    rows = sorted(chosen.nonzero()[0].tolist(), key=lambda row: hash_of(str(frame["case"].iloc[row])))
    first: dict[str, int] = {}
    for row in rows:
        first.setdefault(str(frame["group"].iloc[row]), row)
    return [*first.values(), *(row for row in rows if row not in set(first.values()))]


def _thumbnail(facts: Facts, row: int) -> str:
    """A small JPEG of an image as a `data:` address; empty where the file cannot be read."""
    import numpy as np
    from PIL import Image as Pillow

    from graftwork.common.data.images import read_image, to_float

    try:
        pixels = to_float(read_image(facts.manifest.file(row), cover=THUMBNAIL))
    except (GraftworkError, OSError):
        return ""
    image = Pillow.fromarray((pixels * 255).round().astype(np.uint8))
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    content = io.BytesIO()
    image.save(content, "JPEG", quality=75)
    return f"data:image/jpeg;base64,{base64.b64encode(content.getvalue()).decode()}"


@section("run", 90)
def mistakes(facts: Facts) -> Section | None:
    """The most confident errors, each beside its Grad-CAM."""
    if facts.segments:
        return None
    return Section(
        "Most confident errors",
        "mistakes",
        text=(mistakes_sentence(facts),),
        images=tuple(mistake_images(facts)),
    )


def mistakes_sentence(facts: Facts) -> str:
    """What the images are, or why there are none."""
    n, image = len(facts.mistakes), facts.image
    if facts.evaluates_further:
        first = shortened(facts.manifest.target.name, 60)
        return f"Left out: the images that the run saved are of its first target, {first}."
    if not n:
        return f"None: the run saved no misclassified {image} of the test part."
    return (
        f"The {count(n, f'misclassified {image}')} of the test part with the highest score, as the network gets "
        f"{'them, each' if n > 1 else 'it,'} beside its Grad-CAM (Selvaraju et al. 2017): bright regions pushed the "
        "prediction towards the predicted class. Grad-CAM shows where the network looked, not why."
    )


def mistake_images(facts: Facts) -> list[Image]:
    """The misclassified images with captions, as many as fit into the page."""
    room, found = BYTES, []
    for entry in () if facts.evaluates_further else facts.mistakes:
        source, cam = (image_uri(facts.folder / "mistakes", entry.get(key)) for key in SAVED_IMAGES)
        fits = len(source) + len(cam) <= room
        room -= len(source) + len(cam) if fits else 0
        case = shortened(facts.scrub(str(entry.get("case", ""))), 60)
        group = shortened(facts.scrub(str(entry.get("group", ""))), 40)
        predicted, truth = (shortened(str(entry.get(key)), 40) for key in ("predicted", "target"))
        value = score(float(entry["score"])) if isinstance(entry.get("score"), int | float) else NOT_AVAILABLE
        found.append(
            Image(
                source if fits else "",
                f"{facts.image.capitalize()} {case}: predicted {predicted} with score {value}, true class {truth}.",
                f"predicted {predicted}, score {value}",
                (f"true class {truth}", f"{facts.group} {group}, case {case}"),
                _absent(fits),
                (cam if fits else "", f"Grad-CAM of {case} for {predicted}, on top of the {facts.image}."),
            )
        )
    return found


def masks_sentence(facts: Facts) -> str:
    """Which images with masks are shown, and how."""
    return (
        f"Best, median and worst by the mean Dice over the classes, of all {plural(facts.unit)} of the "
        f"{facts.evaluation.part} part with a true or predicted mask. Solid white: border of the true mask; dashed "
        "orange: border of the predicted mask."
    )


def mask_images(facts: Facts) -> list[Image]:
    """The best, the median and the worst unit with true and predicted masks."""
    room, found = BYTES, []
    for entry in facts.examples:
        source = image_uri(facts.folder / "examples", entry.get(SAVED_IMAGES[0]))
        fits = len(source) <= room
        room -= len(source) if fits else 0
        which, _, rest = str(entry.get("label") or entry.get("which", "")).partition(" ")
        value = score(float(entry["dice"])) if isinstance(entry.get("dice"), int | float) else NOT_AVAILABLE
        case, group = (shortened(facts.scrub(str(entry.get(key, ""))), 60) for key in ("case", "group"))
        title = f"{which.capitalize()} {rest}".strip()
        caption = facts.scrub(str(entry.get("caption", "")))
        found.append(
            Image(
                source if fits else "",
                f"{title} {plural(facts.unit)}, {case}: borders of the true and the predicted mask. {caption}",
                f"{title} {plural(facts.unit)}: mean Dice {value}",
                (f"{facts.group} {group}" + (f", {facts.unit} {case}" if case != group else ""), caption),
                _absent(fits),
            )
        )
    return found


def _absent(fits: bool) -> str:
    return "image not saved" if fits else "left out: the page is full"


def image_uri(folder: Path, name: Any) -> str:
    """A small JPEG or PNG as a `data:` address; empty where it is missing or another kind of file."""
    if not isinstance(name, str) or not name or Path(name).name != name:
        return ""
    try:
        content = (folder / name).read_bytes()
    except OSError:
        return ""
    kinds = {b"\xff\xd8\xff": "image/jpeg", b"\x89PN": "image/png"}
    kind = kinds.get(content[:3])
    return f"data:{kind};base64,{base64.b64encode(content).decode()}" if kind else ""
