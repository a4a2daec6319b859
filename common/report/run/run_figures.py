"""From a run's tables to its figures, each with its title, a caption and the same in words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from graftwork.common.report.figures import Line, learning
from graftwork.common.report.figures.drawing import Drawing
from graftwork.common.report.formatting import count, listing, metric_name, number, rate, score, shortened
from graftwork.common.report.run.ledger import LedgerRow, ledger
from graftwork.common.report.run.run_facts import Facts


@dataclass(frozen=True)
class Shown:
    """A figure on a page: what it shows, its title and what is said below it."""

    drawing: Drawing
    title: str
    caption: str = ""


def validation_metric(facts: Facts) -> str:
    """The metric that the log follows on validation: the primary one where it is there."""
    keys = [key for line in facts.log for key in (line.get("validation") or {})]
    return facts.primary if facts.primary in keys or not keys else keys[0]


def epoch_values(facts: Facts, key: str) -> Line:
    """A value of the log over the epochs as a line; a key that is a metric is looked up under `validation`."""
    x, y = [], []
    for line in facts.log:
        value = line.get(key) if key.endswith("_loss") else (line.get("validation") or {}).get(key)
        x.append(float(line["epoch"]))
        y.append(float(value) if isinstance(value, int | float) else math.nan)
    best = facts.best_epoch
    mark = x.index(best) if best in x else None
    return Line(label=key, x=np.array(x), y=np.array(y), mark=mark)


def loss_words(facts: Facts) -> tuple[str, str]:
    """What the loss is, in a sentence, and its unit."""
    if facts.segments:
        return "Cross-entropy (nats) and 1 − Dice of the scores, added.", ""
    if len(facts.manifest.targets) > 1:
        return f"The mean of a case over {len(facts.manifest.targets)} targets, in nats.", "nats"
    return "The mean of a case, in nats.", "nats"


def _carried(facts: Facts) -> str:
    """What the loss of validation has from the recipe: it is the training loss, of pictures that are not augmented."""
    asked = facts.recipe.training
    weighted = asked.class_weights != "none" and not facts.segments  # masks are not weighted by class
    carried = [
        *(["class weights"] if weighted else []),
        *(["label smoothing"] if asked.label_smoothing else []),
    ]
    return f", with the same {listing(carried)} as the training loss" if carried else ""


def _range(line: Line) -> str:
    known = line.y[np.isfinite(line.y)]
    if not len(known):
        return "was not recorded"
    return f"goes from {score(float(known[0]))} to {score(float(known[-1]))}"


def training_charts(facts: Facts) -> list[Shown]:
    """Losses and the validation metric over the epochs, the chosen epoch marked."""
    if not facts.log:
        return []
    metric = validation_metric(facts)
    about = metric_name(metric)
    train, held, followed = (epoch_values(facts, key) for key in ("train_loss", "validation_loss", metric))
    best = facts.best_epoch
    column = strengths_label(facts) if facts.solved else "epoch"
    chosen = f"chosen: {'strength' if facts.solved else 'epoch'} {best}" if best is not None else ""
    losses = [
        Line("training", train.x, train.y, style=0),
        Line("validation", held.x, held.y, style=1, mark=held.mark),
    ]
    step = "strength" if facts.solved else "epoch"
    marked = f" {step.capitalize()} {best} was chosen." if best is not None else ""
    said, unit = loss_words(facts)
    epochs = count(len(facts.log), step)
    when = (
        "Training: all cases at once, without the penalty. Validation: the pictures as they are"
        if facts.solved
        else "Training: while the epoch runs, the pictures as the recipe augments them. "
        "Validation: after the epoch, the pictures as they are"
    )
    shown = [
        Shown(
            learning(
                [line for line in losses if np.isfinite(line.y).any()] or losses[:1],
                y_label=f"loss ({unit})" if unit else "loss",
                mark_label=chosen,
                x_label=column,
                alt=f"Loss over {epochs}: training {_range(train)}, validation {_range(held)}.{marked}",
            ),
            "Loss.",
            f"{said} {when}{_carried(facts)}.",
        )
    ]
    if np.isfinite(followed.y).any():
        top = followed.y[followed.mark] if followed.mark is not None else math.nan
        shown.append(
            Shown(
                learning(
                    [Line(about.title, followed.x, followed.y, style=2, mark=followed.mark)],
                    y_label=f"{about.title} ({about.unit})" if about.unit else about.title,
                    mark_label=chosen,
                    x_label=column,
                    alt=f"Validation {about.title} over {epochs}: {_range(followed)}.{marked}"
                    + (f" There it is {score(float(top))}." if math.isfinite(top) else ""),
                ),
                f"{about.title} on the validation part.",
                f"It chose the {step} whose weights were kept, so its best value flatters; the test part did not "
                "choose.",
            )
        )
    return shown


def strengths_label(facts: Facts) -> str:
    """What stands below an axis on which each place is a strength of the penalty on the head."""
    first, last = (float(facts.log[place]["strength"]) for place in (0, -1))
    return f"strength of the penalty: 1 is {first:g}, {len(facts.log)} is {last:g}"


def ledger_rows(facts: Facts) -> list[LedgerRow]:
    """The ledger by stage, from input to head, over epochs that every stage has."""
    rows: list[LedgerRow] = []
    for stage, frame in facts.ledger.groupby("stage", sort=False):
        kept = frame.sort_values("epoch")
        rows.append(
            LedgerRow(
                str(stage),
                tuple(int(value) for value in kept["learning"]),
                tuple(float(value) for value in kept["rate"]),
                tuple(str(value) for value in kept["norm"].fillna("")),
                int(kept["parameters"].max()),
                tuple(kept["source"].eq("kept")) if "source" in kept else (),
            )
        )
    length = max((len(row.rates) for row in rows), default=0)
    return [row for row in rows if len(row.rates) == length]


def ledger_chart(facts: Facts, *, small: bool = False) -> Shown | None:
    """The trainability ledger as a picture; None where there is none."""
    rows = ledger_rows(facts)
    if not rows or not rows[0].rates:
        return None
    phases, column = phases_of(facts), "strength" if facts.solved else "epoch"
    begins = [first for _, first, _ in phases] if len(phases) > 1 else []
    said = " ".join(
        f"{number} {name} ({column} {first}{f' to {last}' if last > first else ''})."
        for number, (name, first, last) in enumerate(phases, 1)
    )
    return Shown(
        ledger(
            rows, alt=f"{_ledger_words(rows, column)} {said}".strip(), small=small, begins=begins,
            chosen=facts.best_epoch, epoch=column,
        ),
        f"Stages over {'strengths of the penalty' if facts.solved else 'epochs'}, the head on top.",
        f"Phases: {said}" if begins else "",
    )  # fmt: skip


def phases_of(facts: Facts) -> list[tuple[str, int, int]]:
    """The phases of the strategy as they went: name, first and last epoch."""
    if "phase" not in facts.ledger:
        return []
    found: list[tuple[str, int, int]] = []
    each = facts.ledger.drop_duplicates("epoch")
    for epoch, name in zip(each["epoch"].tolist(), each["phase"].tolist(), strict=True):
        if found and found[-1][0] == str(name):
            found[-1] = (found[-1][0], found[-1][1], epoch)
        else:
            found.append((str(name), epoch, epoch))
    return found


def _ledger_words(rows: Sequence[LedgerRow], step: str) -> str:
    always = [row.stage for row in rows if all(row.learning)]
    never = [row.stage for row in rows if not any(row.learning)]
    partly = [row.stage for row in rows if any(row.learning) and not all(row.learning)]
    said = [f"Trainability of {number(len(rows))} stages over {count(len(rows[0].rates), step)}."]
    for stages, words in (
        (always, "learn throughout"),
        (never, "stay frozen throughout"),
        (partly, f"learn in some {step}s"),
    ):
        if stages:
            names = (
                listing(shortened(stage, 24) for stage in stages)
                if len(stages) <= 12
                else f"{len(stages)} stages"
            )
            said.append(f"{names}: {words}.")
    if step == "epoch":
        said.append(f"Highest rate {rate(max(value for row in rows for value in row.rates))}.")
    return " ".join(said)
