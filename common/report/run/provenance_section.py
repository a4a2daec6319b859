"""The sections on the origin of a run: recipe, licences, environment, and the command that repeats it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from graftwork.common.recipe.strategy import STRATEGIES
from graftwork.common.report.commands import repeat_of
from graftwork.common.report.formatting import (
    NOT_AVAILABLE,
    count,
    duration,
    listing,
    number,
    rate,
    shortened,
)
from graftwork.common.report.run.run_facts import NORMS, Facts
from graftwork.common.report.section import Section, Table, properties, section
from graftwork.common.wording import plural

if TYPE_CHECKING:
    from graftwork.common.data.targets import Target


VOLUME_NETWORK = "unet3d"  # the network of volumes, by its name in a recipe


@section("run", 110)
def recipe(facts: Facts) -> Section:
    """The settings of the recipe, and the whole recipe."""
    whole = Section("The resolved recipe", code=facts.recipe_text, folded=True)
    return Section("Recipe", "recipe", tables=(recipe_table(facts),), sections=(whole,))


@section("run", 210)
def licences(facts: Facts) -> Section:
    """Of weights, data and program."""
    return Section("Licences", "licences", tables=(licences_table(facts),))


@section("run", 220)
def environment(facts: Facts) -> Section:
    """Machine and library versions."""
    return Section("Environment", "environment", tables=(environment_table(facts),))


@section("run", 230)
def repeat(facts: Facts) -> Section:
    """The command that repeats the run."""
    found = repeat_of(facts)
    return Section(
        "Repeat this run", "repeat", text=(found.sentence,), code=found.command, notes=(found.data,)
    )


def recipe_table(facts: Facts) -> Table:
    """The settings of the recipe, in the order of the work."""
    recipe, split, weights = facts.recipe, facts.recipe.split, facts.weights
    origin = str(weights.get("origin") or weights.get("source") or NOT_AVAILABLE)
    if weights.get("source") == "none" or not weights:
        origin = "none: random initial values"
    elif weights.get("trained_on"):
        origin += f"; trained on {weights['trained_on']}"
    named = f" ({facts.manifest.dataset})" if facts.dataset is not None else ""
    by_group = f"by {facts.group}, seed {recipe.split_seed}"
    if split.by == "group":
        shares = f"validation {split.validation:g}, test {split.test:g} of the {plural(facts.image)}"
        divided = f"{by_group}: {shares}"
    elif split.validation:
        divided = f"test part as published; validation {split.validation:g} of the rest, {by_group}"
    else:
        divided = "test and validation parts as published"
    if split.seen:
        units = plural(facts.manifest.unit or facts.image)
        divided += f"; {split.seen:g} of the rest, in whole {units}, is left out of training: the part seen"
    targets = [
        (
            "target" if place == 0 else "further target",
            f"{each.name}, {each.kind}: {_classes(each)}"
            + ("; evaluated here" if place and each == facts.target else ""),
        )
        for place, each in enumerate(facts.manifest.targets)
    ]
    norm, batch_of = recipe.strategy.norm, "block" if _is_volumetric(facts) else facts.image
    rows = [
        ("recipe", facts.short_name),
        ("dataset", shortened(facts.dataset_title, 160) + named),
        *targets,
        ("strategy", f"{recipe.strategy.name}: {STRATEGIES[recipe.strategy.name].summary}"),
        ("norm layers", f"{norm}: {NORMS.get(norm, '')}"),
        ("network", _network(facts)),
        ("pretrained weights", facts.scrub(origin)),
        ("input", _input(facts)),
        ("split", divided),
        ("training", _training(facts, batch_of)),
        *([] if facts.segments else [("class weights", _class_weights(facts))]),
        ("seed", str(recipe.seed)),
        ("decision", _decision(facts)),
        ("protocol", f"{facts.evaluation.protocol}, version {facts.evaluation.version}"),
    ]
    return properties("Settings of the recipe", rows)


def _training(facts: Facts, batch_of: str) -> str:
    """How the weights are trained: in epochs, or a head solved on features."""
    training, strengths = facts.recipe.training, facts.recipe.strategy.regularisation_strengths
    if facts.solved or strengths:
        return (
            "the head is solved by L-BFGS on all training cases at once, for "
            f"{count(strengths, 'regularisation strength')}; features in {training.precision}"
        )
    return (
        f"{count(training.epochs, 'epoch')}, batches of {count(training.batch_size, batch_of)}, "
        f"learning rate {rate(training.learning_rate)}, {training.schedule} schedule, {training.precision}"
    )


def _is_volumetric(facts: Facts) -> bool:
    """Whether the network takes blocks of volumes."""
    return facts.recipe.backbone.name == VOLUME_NETWORK


def _network(facts: Facts) -> str:
    """The name of the network, its decoder and its size."""
    name = str(facts.network.get("backbone", facts.recipe.backbone.name))
    parameters = facts.network.get("parameters")
    if _is_volumetric(facts):
        name = f"{name}: a 3-D U-Net"
    elif facts.segments:
        name += (
            f" as the encoder of a U-Net; its decoder ends in {count(facts.recipe.decoder.width, 'channel')}"
        )
    return name + (f", {number(parameters)} parameters" if isinstance(parameters, int) else "")


def _input(facts: Facts) -> str:
    if _is_volumetric(facts):
        volume = facts.recipe.volume
        return (
            f"blocks of {' × '.join(map(str, volume.patch_size))} voxels, {number(volume.patches_per_volume)} per "
            f"volume and epoch; prediction in blocks with an overlap of {volume.patch_overlap:g}"
        )
    image = facts.recipe.image
    return f"{image.size} × {image.size} px, {image.fit}, {image.interpolation}"


def _class_weights(facts: Facts) -> str:
    """How the loss weights rare classes, with the smallest and largest weight of the first target."""
    training, target = facts.recipe.training, facts.manifest.target
    if training.class_weights == "none":
        return "none: every case has the same weight in the loss"
    text = "balanced: every class has the same weight in the loss"
    if training.sampling == "balanced":
        return f"{text}, counted after balanced sampling"
    if target.kind not in ("binary", "multi-class", "ordinal"):
        return text
    counts = facts.split.train.frame[target.columns[0]].value_counts()
    counts = counts[counts > 0]
    if len(counts) < 2:
        return text
    weight = {str(name): counts.sum() / (len(counts) * n) for name, n in counts.items()}
    low, high = min(weight, key=lambda name: weight[name]), max(weight, key=lambda name: weight[name])
    return (
        f"{text}; from {weight[low]:.3g} ({shortened(low, 40)}) to {weight[high]:.3g} ({shortened(high, 40)})"
    )


def _decision(facts: Facts) -> str:
    """How the predicted class of a case is decided."""
    asked, kind = facts.recipe.evaluation, facts.target.kind
    if kind == "segmentation":
        return f"the class with the highest score in each {'voxel' if _is_volumetric(facts) else 'pixel'}"
    if kind in ("multi-class", "ordinal"):
        return "the class with the highest score"
    rule = {
        "youden": "the largest sum of sensitivity and specificity (Youden)",
        "sensitivity": f"at least {asked.threshold_target:g} sensitivity",
        "specificity": f"at least {asked.threshold_target:g} specificity",
    }[asked.threshold]
    return f"threshold chosen on validation: {rule}"


def _classes(target: Target) -> str:
    names = [shortened(name, 40) for name in target.classes]
    if target.kind == "binary":
        return f"{names[1]} (positive) or {names[0]}"
    if target.kind == "segmentation":
        return f"{listing(names[1:])} against {names[0]}"
    short = listing(names) if len(names) <= 20 else f"{len(names)} classes"
    return f"{short}, in this order" if target.kind == "ordinal" else short


def environment_table(facts: Facts) -> Table:
    """The machine and the libraries, without folders and user names."""
    known = facts.environment
    memory = known.get("memory_gib")
    cpus = count(int(known.get("cpus") or 0), "CPU")
    rows = [
        ("graftwork", known.get("graftwork", NOT_AVAILABLE)),
        ("Python", known.get("python", NOT_AVAILABLE)),
        ("platform", known.get("platform", NOT_AVAILABLE)),
        ("processor", f"{known.get('processor') or NOT_AVAILABLE}, {cpus}"),
        ("memory", f"{memory:g} GiB" if isinstance(memory, int | float) else NOT_AVAILABLE),
        ("device", known.get("device_name") or known.get("device") or NOT_AVAILABLE),
        ("threads", known.get("threads", NOT_AVAILABLE)),
        ("processes", known.get("processes", NOT_AVAILABLE)),
        ("started", str(known.get("started") or NOT_AVAILABLE).replace("T", " ").replace("+00:00", " UTC")),
        ("work time", duration(_seconds(known.get("seconds")))),
    ]
    versions = known.get("versions")
    if isinstance(versions, dict):
        rows += sorted(versions.items())
    return properties("Machine and versions", [(str(name), facts.scrub(str(value))) for name, value in rows])


def _seconds(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def licences_table(facts: Facts) -> Table:
    """The licence of weights, data and program."""
    weights, about = facts.weights, facts.dataset
    rows: list[tuple[str, str]] = []
    if not weights or weights.get("source") == "none":
        rows.append(("pretrained weights", "none used"))
    else:
        origin = str(weights.get("origin") or weights.get("source") or "unknown")
        rows.append(("pretrained weights", str(weights.get("licence") or "unknown")))
        rows.append(("origin of the weights", facts.scrub(origin)))
        if weights.get("trained_on"):
            rows.append(("trained on", facts.scrub(str(weights["trained_on"]))))
        if weights.get("sha256"):
            rows.append(("SHA-256 of the weights", str(weights["sha256"])))
    licence = about.licence if about is not None else "unknown: the domain of the dataset is not installed"
    if facts.synthetic:
        licence = f"synthetic; the licence of the real dataset with this layout: {licence}"
    rows.append(("data", licence))
    if about is not None:
        rows.append(("citation", about.citation))
        if re.search(r"non-?commercial|\bNC\b", about.licence, re.IGNORECASE):
            note = "The data are licensed for non-commercial use: this also restricts the trained model."
            rows.append(("note", note))
    rows.append(("graftwork", "Apache-2.0"))
    return properties("Licences of weights, data and program", rows)
