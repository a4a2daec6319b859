"""Any set in the format COCO Camera Traps: frames with species, counts, boxes, sequences and locations.

One `.json` file lists images, annotations and categories. Published sets differ in what they fill in, in the type of
ids and in where the images lie; see the data card.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from graftwork.common.data.domain import Dataset
from graftwork.common.data.manifest import Manifest
from graftwork.common.data.synthetic import NOTE, is_synthetic
from graftwork.common.data.targets import Target
from graftwork.domains.camera_trap.coco_tables import EMPTIES, Annotation, Tables, load
from graftwork.domains.camera_trap.labelling import Frame, bin_of, manifest_of, spelling_note, whole

if TYPE_CHECKING:
    import pandas as pd

    from graftwork.common.data.checks.findings import Finding


DATASET = Dataset(
    name="camera_trap/coco_camera_traps",
    title="Camera-trap photographs in COCO Camera Traps format: species, empty or not, count",
    group="location",
    target=Target("species", "multi-class", ()),
    protocol="species",
    licence="as stated by the publisher of the dataset",
    citation=(
        "The publication of the dataset. Format: COCO Camera Traps, of Microsoft AI for Earth and LILA BC. The "
        "counts of "
        "the card are of Caltech Camera Traps 20: Beery S, Van Horn G, Perona P. Recognition in Terra Incognita. "
        "ECCV 2018. arXiv:1807.04975"
    ),
    further=("species-events", "empty", "empty-events", "count", "count-events"),
)
_SHOWN = 5  # examples of a finding


def read(root: str | os.PathLike[str]) -> Manifest:
    """The manifest of the dataset in `root`. It reads the table and file names, but no pixels.

    Args:
        root: a folder with one COCO Camera Traps file in it or up to two levels below; or the folder of the images,
            with the file beside it; or the file. Images may be missing, even all of them (a note counts them).

    Returns:
        Cases are file names, and groups are locations. If no image has a location, the group is unknown, and the
        dataset cannot be split by location. Unit `event`: `seq_id`, or built from gaps in time. Targets `species`,
        `empty`, `count`. Covariates `event`, `datetime`, `frame_number`, `species_set` ("deer;fox"), `boxes` (their
        number).

    Raises:
        DatasetError: there is no such file, there are several, or its content is invalid (lists all errors).
    """
    tables = load(root)
    names = _class_names(tables)
    frames = []
    for image in tables.images:
        about = tables.annotations.get(image.id, [])
        found = sorted({names[each.category] for each in about})
        species = tuple(name for name in found if name)
        frames.append(
            Frame(
                path=image.path,
                species=species,
                empty="" in found,
                location=image.location,
                time=image.time,
                sequence=image.sequence,
                number=image.number,
                count=_count([each for each in about if names[each.category]]),
                boxes=sum(each.box is not None for each in about),
            )
        )
    return manifest_of(frames, tables.root, DATASET, tuple(_notes(tables)))


def boxes(root: str | os.PathLike[str]) -> pd.DataFrame:
    """The boxes of a set, one row each: `case`, `category` (by name), `x`, `y`, `w`, `h`, in px of the size that the
    file declares (`width`, `height`), which may be larger than the image's.

    Raises:
        DatasetError: as `read`.
    """
    import pandas as pd

    tables = load(root)
    frame = read(root).frame
    case = dict(zip(frame["path"], frame["case"], strict=True))
    rows = [
        (case[image.path], tables.categories[each.category], *each.box, image.width, image.height)
        for image in tables.images
        for each in tables.annotations.get(image.id, [])
        if each.box is not None
    ]
    return pd.DataFrame(rows, columns=["case", "category", "x", "y", "w", "h", "width", "height"])


def findings(root: str | os.PathLike[str]) -> Iterator[Finding]:
    """What only a file in this format can have wrong with it.

    Raises:
        DatasetError: as `read`.
    """
    from graftwork.common.data.checks.findings import Finding

    tables = load(root)
    listed = {image.id for image in tables.images}
    every = [each for about in tables.annotations.values() for each in about]

    def found(kind: str, what: str, remedy: str, items: Sequence[str]) -> Iterator[Finding]:
        if items:
            said = f"{len(items)} {what}"
            examples = tuple(items[:_SHOWN])
            yield Finding(kind, "warning", tables.file.name, said, remedy, len(items), examples)

    yield from found(
        "impossible-value",
        "boxes that reach outside the declared size",
        "cut them at the edge before they are used; they are counted as they stand",
        [
            f"{image.path} ({', '.join(f'{number:g}' for number in each.box)})"
            for image in tables.images
            for each in tables.annotations.get(image.id, [])
            if each.box is not None and _outside(each.box, image.width, image.height)
        ],
    )
    yield from found(
        "impossible-value",
        "annotations of images that are not listed",
        "add the images, or leave the annotations out; they are ignored",
        [each.id or each.image for each in every if each.image not in listed],
    )
    yield from found(
        "impossible-value",
        "images without an annotation",
        "annotate them (empty frames too), or leave them out; what they show is taken as unknown",
        [image.path for image in tables.images if not tables.annotations.get(image.id)],
    )
    ids: dict[str, int] = defaultdict(int)
    for each in every:
        ids[each.id] += bool(each.id)
    yield from found(
        "contradiction",
        "ids shared by several annotations",
        "see whether an annotation stands twice; counts and boxes would be too high",
        [key for key, times in ids.items() if times > 1],
    )
    yield from found(
        "contradiction",
        "names shared by several categories",
        "see whether they mean one species; they are taken as one class",
        [f"{name} (ids {', '.join(bearers)})" for name, bearers in tables.one_name().items()],
    )
    names = _class_names(tables)
    yield from found(
        "contradiction",
        "images called empty and not empty at once",
        "look at them; what they show is taken as unknown",
        [
            image.path
            for image in tables.images
            if len({bool(names[each.category]) for each in tables.annotations.get(image.id, [])}) > 1
        ],
    )
    yield from found(
        "impossible-value",
        "images without a location",
        "add it: without it, frames of one camera may be in two parts of a split",
        [image.path for image in tables.images if not image.location],
    )


def _class_names(tables: Tables) -> dict[str, str]:
    """The class of each category's id: its name, shared by all with this name; "" for empty ones."""
    first: dict[str, str] = {}
    for name in tables.categories.values():
        first.setdefault(name.casefold(), name)
    return {
        key: "" if name.casefold() in EMPTIES else first[name.casefold()]
        for key, name in tables.categories.items()
    }


def _count(animals: list[Annotation]) -> str:
    """The bin of the number of animals: the sum of the counts, if each annotation has a count or a box."""
    if len(animals) == 1 and whole(animals[0].count) is None:
        return bin_of(animals[0].count) or (
            "1" if animals[0].box is not None and not animals[0].count else ""
        )
    total = 0
    for each in animals:
        if number := whole(each.count):
            total += number
        elif not each.count and each.box is not None:
            total += 1
        else:
            return ""
    return bin_of(total)


def _outside(
    box: tuple[float, float, float, float], width: float | None, height: float | None, slack: float = 0.5
) -> bool:
    x, y, w, h = box
    right = width is not None and x + w > width + slack
    below = height is not None and y + h > height + slack
    return right or below or x < -slack or y < -slack or w <= 0 or h <= 0


def _notes(tables: Tables) -> Iterator[str]:
    if is_synthetic(tables.root, tables.file.parent):
        yield NOTE
    yield f"labels are those of {tables.file.name}"
    if tables.missing == len(tables.images):
        yield "no image of the table is there: the table alone was read"
    elif tables.missing:
        yield f"{tables.missing} of the {len(tables.images)} images of the table are not there"
    one = tables.one_name()
    if one:
        said = ", ".join(f"{name} (ids {', '.join(ids)})" for name, ids in one.items())
        yield f"categories of one name are taken as one class: {said}"
    if note := spelling_note(tables.written["category"], "category", cased=False):
        yield note
    if note := spelling_note(tables.written["location"], "location"):
        yield note
    for name, keys in tables.unused.items():
        if keys:
            said = ", ".join(f"{key} ({count:,})" for key, count in sorted(keys.items()))
            yield f"keys of {name} that are not read: {said}"
    listed = {image.id for image in tables.images}
    stray = sum(len(about) for key, about in tables.annotations.items() if key not in listed)
    if stray:
        yield f"{stray} annotations of images that are not listed are ignored"
    if tables.backslashes:
        yield f"backslashes in {tables.backslashes} file names were read as slashes"


def synthesize(folder: str | os.PathLike[str], *, cases: int = 60, seed: int = 0) -> None:
    """Write a small synthetic dataset in this format.

    Drawn frames of fifteen or more locations, by day and by night, with a strip that shows date and temperature: four
    animals that differ in shape, empty frames, bursts of up to three frames, a few animals at once, rarely two
    species. As in published sets: text ids, numbers for locations, two categories of one name, an empty category,
    boxes (some of which reach outside), images in a folder of their own, some frames without a sequence id.
    What is written depends on `cases` and `seed` alone.

    Args:
        folder: the output folder; it must be new, empty, or hold the same synthetic dataset.
        cases: how many images, at least 24.
        seed: another seed, other places and animals.

    Raises:
        DatasetError: too few cases, or a folder that holds something else.
    """
    import json

    from graftwork.common.data.synthetic import begin, generator
    from graftwork.domains.camera_trap.drawings import LEAST, SIZE, draw, plan

    root = begin(folder, cases=cases, seed=seed, least=LEAST)
    ids = {"badger": 3, "deer": 7, "fox": 11, "hare": 12}
    images: list[dict[str, object]] = []
    annotations: list[dict[str, object]] = []
    foxes = 0
    for serial, shot in enumerate(plan(DATASET.name, cases, seed)):
        image, drawn = draw(DATASET.name, seed, shot)
        key = f"{generator(DATASET.name, seed, 'id', serial).integers(0, 2**32):08x}-{serial:04d}"
        name = f"{shot.location}/{key}.jpg"
        file = root / "images" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        image.save(file, format="JPEG", quality=88)
        about: dict[str, object] = {
            "id": key,
            "file_name": name,
            "width": SIZE[0],
            "height": SIZE[1],
            "location": shot.location,
            "datetime": f"{shot.time:%Y-%m-%d %H:%M:%S}",
        }
        if shot.event % 7 != 3:
            about |= {"seq_id": f"seq-{shot.event}", "seq_num_frames": shot.frames, "frame_num": shot.number}
        images.append(about)
        if not drawn:
            annotations.append({"id": f"a{len(annotations)}", "image_id": key, "category_id": 0})
        for species, box in drawn:
            foxes += species == "fox"
            category = 14 if species == "fox" and foxes % 3 == 0 else ids[species]
            annotations.append(
                {
                    "id": f"a{len(annotations)}",
                    "image_id": key,
                    "category_id": category,
                    "bbox": [round(each, 2) for each in box],
                }
            )
    categories = [{"id": 0, "name": "empty"}, *({"id": key, "name": name} for name, key in ids.items())]
    content = {
        "info": {"version": "1.0", "description": "SYNTHETIC: drawn by graftwork"},
        "categories": [*categories, {"id": 14, "name": "fox"}],
        "images": images,
        "annotations": annotations,
    }
    text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    (root / "synthetic_camera_traps.json").write_text(text, encoding="utf-8")
