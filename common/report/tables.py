"""The tables of a report: each a caption, named columns and rows of finished texts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from graftwork.common.report.formatting import (
    NOT_AVAILABLE,
    count,
    duration,
    listing,
    number,
    plural,
    rate,
    shortened,
)
from graftwork.common.report.run.run_facts import NORMS, STRATEGIES, Facts

if TYPE_CHECKING:
    from graftwork.common.data.targets import Target


SOLID = "unet3d"  # the network of volumes, by its name in a recipe


@dataclass(frozen=True)
class Column:
    """A column's heading, and whether its cells are numbers (set flush right, in figures of one width)."""

    name: str
    numeric: bool = False


@dataclass(frozen=True)
class Row:
    """A row's heading and its other cells; `level` 1 sets it under the row above, `strong` makes it stand out."""

    head: str
    cells: tuple[str, ...]
    strong: bool = False
    level: int = 0


@dataclass(frozen=True)
class Table:
    """A table. `stacks`: on a narrow screen each row becomes a block of its own. `spans`: cells hold a value and its
    interval, which takes a line of its own where there are many columns."""

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    stacks: bool = False
    notes: tuple[str, ...] = field(default=())
    spans: bool = False


def _pairs(caption: str, rows: Sequence[tuple[str, str]]) -> Table:
    return Table(
        caption, (Column("what"), Column("value")), tuple(Row(name, (value,)) for name, value in rows)
    )


def asked_table(facts: Facts) -> Table:
    """What the recipe asked for, in the order in which a reader asks."""
    recipe, split = facts.recipe, facts.recipe.split
    weights = facts.weights
    origin = str(weights.get("origin") or weights.get("source") or NOT_AVAILABLE)
    if weights.get("source") == "none" or not weights:
        origin = "none: random initial values"
    elif weights.get("trained_on"):
        origin += f"; trained on {weights['trained_on']}"
    named = f" ({facts.manifest.dataset})" if facts.dataset is not None else ""
    drawn = {
        "group": f"drawn by {facts.group}, seed {recipe.split_seed}: validation {split.validation:g}, "
        f"test {split.test:g} of the {plural(facts.picture)}",
        "publisher": "test part as published; "
        + (
            f"validation {split.validation:g} of the rest, drawn by {facts.group}, seed {recipe.split_seed}"
            if split.validation
            else "validation part as published"
        ),
    }[split.by]
    if split.seen:
        unit = plural(facts.manifest.unit or facts.picture)
        drawn += (
            f"; of what is left, {split.seen:g} is kept out in whole {unit} and tested on as the part seen"
        )
    targets = [
        (
            "target" if place == 0 else "further target",
            f"{each.name}, {each.kind}: {_classes(each)}"
            + ("; the one judged here" if place and each == facts.target else ""),
        )
        for place, each in enumerate(facts.manifest.targets)
    ]
    norm, step = recipe.strategy.norm, "block" if _solid(facts) else facts.picture
    rows = [
        ("recipe", facts.short_name),
        ("dataset", shortened(facts.dataset_title, 160) + named),
        *targets,
        ("strategy", f"{recipe.strategy.name}: {STRATEGIES.get(recipe.strategy.name, '')}"),
        ("norm layers", f"{norm}: {NORMS.get(norm, '')}"),
        ("network", _network(facts)),
        ("pretrained weights", facts.scrub(origin)),
        ("input", _input(facts)),
        ("split", drawn),
        ("training", _training(facts, step)),
        *([] if facts.segments else [("class weights", _class_weights(facts))]),
        ("seed", str(recipe.seed)),
        ("decision", _decision(facts)),
        ("protocol", f"{facts.evaluation.protocol}, version {facts.evaluation.version}"),
    ]
    return _pairs("What the recipe asked for", rows)


def _training(facts: Facts, step: str) -> str:
    """How the weights are found: by steps over epochs, or a head solved on features."""
    training, strengths = facts.recipe.training, facts.recipe.strategy.regularisation_strengths
    if facts.solved or strengths:
        return (
            f"the head is solved by L-BFGS on all training cases at once, for {count(strengths, 'strength')} of a "
            f"penalty on its weights; features in {training.precision}"
        )
    return (
        f"{count(training.epochs, 'epoch')}, {count(training.batch_size, step)} a step, "
        f"rate {rate(training.learning_rate)}, {training.schedule} schedule, {training.precision}"
    )


def _solid(facts: Facts) -> bool:
    """Whether the network takes blocks of volumes."""
    return facts.recipe.backbone.name == SOLID


def _network(facts: Facts) -> str:
    """The network's name, what it is where it outlines, and its size."""
    name, parameters = (
        str(facts.network.get("backbone", facts.recipe.backbone.name)),
        facts.network.get("parameters"),
    )
    if _solid(facts):
        name = f"{name}: a U-Net of three dimensions"
    elif facts.segments:
        width = count(facts.recipe.decoder.width, "channel")
        name += f" as the encoder of a U-Net, whose decoder ends in {width}"
    return name + (f", {number(parameters)} parameters" if isinstance(parameters, int) else "")


def _input(facts: Facts) -> str:
    recipe = facts.recipe
    if _solid(facts):
        volume = recipe.volume
        return (
            f"patches of {' × '.join(map(str, volume.patch_size))} voxels, {number(volume.patches_per_volume)} per "
            f"volume and epoch; whole volumes are predicted with an overlap of {volume.patch_overlap:g}"
        )
    image = recipe.image
    return f"{image.size} × {image.size} px, {image.fit}, {image.interpolation}"


def _class_weights(facts: Facts) -> str:
    """What the loss makes of rare classes, with the weights of the first target's rarest and commonest one."""
    wish, target = facts.recipe.training.class_weights, facts.manifest.target
    if wish == "none":
        return "none: each case weighs the same in the loss"
    text = "balanced: each class weighs the same in the loss, however rare"
    if facts.recipe.training.sampling == "balanced":
        return f"{text}, counted as drawn by balanced sampling"
    if target.kind not in ("binary", "multi-class", "ordinal"):
        return text
    there = facts.split.train.frame[target.columns[0]].value_counts()
    there = there[there > 0]
    if len(there) < 2:
        return text
    weight = {str(name): there.sum() / (len(there) * n) for name, n in there.items()}
    low, high = min(weight, key=lambda name: weight[name]), max(weight, key=lambda name: weight[name])
    return (
        f"{text}; from {weight[low]:.3g} ({shortened(low, 40)}) to {weight[high]:.3g} ({shortened(high, 40)})"
    )


def _decision(facts: Facts) -> str:
    """How a case is given a class."""
    wish, kind = facts.recipe.evaluation, facts.target.kind
    if kind == "segmentation":
        return (
            "a voxel is given the class of the highest score"
            if _solid(facts)
            else ("a pixel is given the class of the highest score")
        )
    if kind in ("multi-class", "ordinal"):
        return "a case is given the class of the highest score"
    return (
        "threshold chosen on validation: "
        + {
            "youden": "the highest sum of sensitivity and specificity (Youden)",
            "sensitivity": f"at least {wish.threshold_target:g} sensitivity",
            "specificity": f"at least {wish.threshold_target:g} specificity",
        }[wish.threshold]
    )


def _classes(target: Target) -> str:
    names = [shortened(name, 40) for name in target.classes]
    if target.kind == "binary":
        return f"{names[1]} (positive) or {names[0]}"
    if target.kind == "segmentation":
        return f"{listing(names[1:])} against {names[0]}"
    said = listing(names) if len(names) <= 20 else f"{len(names)} classes"
    return f"{said}, in this order" if target.kind == "ordinal" else said


def environment_table(facts: Facts) -> Table:
    """The machine and the libraries; never where the data lie or who ran it."""
    known, said = facts.environment, facts.scrub
    memory = known.get("memory_gib")
    device = known.get("device_name") or known.get("device")
    rows = [
        ("graftwork", str(known.get("graftwork", NOT_AVAILABLE))),
        ("Python", str(known.get("python", NOT_AVAILABLE))),
        ("platform", str(known.get("platform", NOT_AVAILABLE))),
        (
            "processor",
            f"{known.get('processor') or NOT_AVAILABLE}, {count(int(known.get('cpus') or 0), 'CPU')}",
        ),
        ("memory", f"{memory:g} GiB" if isinstance(memory, int | float) else NOT_AVAILABLE),
        ("device", str(device or NOT_AVAILABLE)),
        ("threads", str(known.get("threads", NOT_AVAILABLE))),
        ("processes", str(known.get("processes", NOT_AVAILABLE))),
        ("begun", str(known.get("started") or NOT_AVAILABLE).replace("T", " ").replace("+00:00", " UTC")),
        ("work time", duration(_seconds(known.get("seconds")))),
    ]
    versions = known.get("versions")
    if isinstance(versions, dict):
        rows += [(str(name), str(version)) for name, version in sorted(versions.items())]
    return _pairs("Machine and versions", [(name, said(value)) for name, value in rows])


def _seconds(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def ledger_table(facts: Facts) -> Table:
    """The ledger in words: for each stage the stretches of epochs in which it did one thing."""
    rows: list[Row] = []
    for stage, frame in facts.ledger.groupby("stage", sort=False):
        state = (frame["learning"] > 0).astype(str) + frame["norm"].astype(str)
        for _, stretch in frame.groupby((state != state.shift()).cumsum()):
            first, last = int(stretch["epoch"].iloc[0]), int(stretch["epoch"].iloc[-1])
            learns = int(stretch["learning"].iloc[0])
            rates = [float(value) for value in stretch["rate"]]
            span = rate(rates[0]) if rates[0] == rates[-1] else f"{rate(rates[0])} to {rate(rates[-1])}"
            cells = (
                str(first) if first == last else f"{first} to {last}",
                number(int(stretch["parameters"].iloc[0])),
                number(learns) if learns else "frozen",
                ("solved" if facts.solved else span) if learns else "–",
                str(stretch["norm"].iloc[0]),
            )
            rows.append(Row(shortened(str(stage), 40), cells))
    when = "strengths" if facts.solved else "epochs"
    columns = (
        Column("stage"), Column(when, numeric=True), Column("parameters", numeric=True),
        Column("learning", numeric=True), Column("rate", numeric=True), Column("norm layers"),
    )  # fmt: skip
    return Table("What learned: stages from input to head", columns, tuple(rows), stacks=True)


def licences_table(facts: Facts) -> Table:
    """The licence of weights, data and program."""
    weights, about = facts.weights, facts.dataset
    rows: list[tuple[str, str]] = []
    if not weights or weights.get("source") == "none":
        rows.append(("pretrained weights", "none used"))
    else:
        rows.append(("pretrained weights", str(weights.get("licence") or "not known")))
        rows.append(
            (
                "their origin",
                facts.scrub(str(weights.get("origin") or weights.get("source") or "not known")),
            )
        )
        if weights.get("trained_on"):
            rows.append(("trained on", facts.scrub(str(weights["trained_on"]))))
        if weights.get("sha256"):
            rows.append(("their SHA-256", str(weights["sha256"])))
    licence = about.licence if about is not None else "not known: the domain is not installed here"
    if facts.synthetic:
        licence = f"synthetic, made by a program; the licence of the set whose layout they have: {licence}"
    rows.append(("data", licence))
    if about is not None:
        rows.append(("to be cited as", about.citation))
        if re.search(r"non-?commercial|\bNC\b", about.licence, re.IGNORECASE):
            rows.append(("note", "Non-commercial data were used: this binds what is trained on them."))
    rows.append(("graftwork", "Apache-2.0"))
    return Table(
        "Licences of weights, data and program",
        (Column("what"), Column("licence")),
        tuple(Row(name, (value,)) for name, value in rows),
    )
