"""The section on training: what was done, from the log and the ledger and not from the recipe."""

from __future__ import annotations

import math

import numpy as np

from graftwork.common.report.figures.curve_figures import Line, learning
from graftwork.common.report.figures.ledger_figure import LedgerRow, ledger, phase_words
from graftwork.common.report.formatting import (
    count,
    duration,
    listing,
    metric_name,
    number,
    percent,
    rate,
    sentence,
    shortened,
)
from graftwork.common.report.run.run_facts import NORMS, Facts
from graftwork.common.report.section import Column, Figure, Row, Section, Table, section
from graftwork.common.wording import plural


@section("run", 120)
def training(facts: Facts) -> Section:
    """Summary, training curves, and the ledger."""
    chart = ledger_chart(facts)
    title = "Training ledger: which stage trained when"
    table = Section("The ledger as a table", tables=(ledger_table(facts),), folded=True, screen=True)
    inner = (
        (Section(title, text=("The run has no ledger.",)),)
        if chart is None
        else (
            Section(
                title, figures=(chart,), notes=(*ledger_notes(facts), *frozen_notes(facts)), sections=(table,)
            ),
        )
    )
    return Section(
        "Training", "training", text=(training_words(facts),), figures=training_charts(facts), sections=inner
    )


def validation_metric(facts: Facts) -> str:
    """The metric on validation in the log: the primary one where it is there."""
    keys = [key for line in facts.log for key in (line.get("validation") or {})]
    return facts.primary if facts.primary in keys or not keys else keys[0]


def epoch_values(facts: Facts, key: str) -> Line:
    """A value of the log over the epochs as a line; a metric is read from `validation`."""
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
        return "The sum of cross-entropy (nats) and 1 − Dice of the scores.", ""
    if len(facts.manifest.targets) > 1:
        return f"The mean per case over {len(facts.manifest.targets)} targets, in nats.", "nats"
    return "The mean per case, in nats.", "nats"


def _options_of_the_loss(facts: Facts) -> str:
    """What the validation loss shares with the training loss."""
    asked = facts.recipe.training
    weighted = asked.class_weights != "none" and not facts.segments  # masks are not weighted by class
    shared = [
        *(["class weights"] if weighted else []),
        *(["label smoothing"] if asked.label_smoothing else []),
    ]
    return f", with the same {listing(shared)} as the training loss" if shared else ""


def training_charts(facts: Facts) -> tuple[Figure, ...]:
    """Losses and the validation metric over the epochs, the chosen epoch marked."""
    if not facts.log:
        return ()
    metric, best, step = validation_metric(facts), facts.best_epoch, "strength" if facts.solved else "epoch"
    about = metric_name(metric)
    train, held, followed = (epoch_values(facts, key) for key in ("train_loss", "validation_loss", metric))
    axis = strengths_label(facts) if facts.solved else "epoch"
    chosen = f"chosen: {step} {best}" if best is not None else ""
    losses = [
        Line("training", train.x, train.y, style=0),
        Line("validation", held.x, held.y, style=1, mark=held.mark),
    ]
    text, unit = loss_words(facts)
    images = plural(facts.image)
    when = (
        f"Training: all cases at once, without the penalty. Validation: {images} without augmentation"
        if facts.solved
        else f"Training: measured during the epoch, on augmented {images}. Validation: after the epoch, {images} "
        "without augmentation"
    )
    found = [
        Figure(
            learning(
                [line for line in losses if np.isfinite(line.y).any()] or losses[:1],
                y_label=f"loss ({unit})" if unit else "loss", mark_label=chosen, x_label=axis, step=step,
            ),
            "Loss.",
            f"{text} {when}{_options_of_the_loss(facts)}.",
        )
    ]  # fmt: skip
    if np.isfinite(followed.y).any():
        label = f"validation {about.title}"
        found.append(
            Figure(
                learning(
                    [Line(label, followed.x, followed.y, style=2, mark=followed.mark)],
                    y_label=f"{about.title} ({about.unit})" if about.unit else about.title,
                    mark_label=chosen, x_label=axis, step=step,
                ),
                f"{about.title} on the validation part.",
                f"This curve chose the {step} whose weights were saved, so its best value is optimistic. The test part "
                "was not used to choose.",
            )
        )  # fmt: skip
    return tuple(found)


def strengths_label(facts: Facts) -> str:
    """The label of an axis on which each place is a regularisation strength."""
    first, last = (float(facts.log[place]["strength"]) for place in (0, -1))
    return f"regularisation strength: 1 is {first:g}, {len(facts.log)} is {last:g}"


def ledger_rows(facts: Facts) -> list[LedgerRow]:
    """The ledger by stage, from input to head, over epochs that every stage has."""
    rows: list[LedgerRow] = []
    for stage, unsorted in facts.ledger.groupby("stage", sort=False):
        frame = unsorted.sort_values("epoch")
        rows.append(
            LedgerRow(
                str(stage),
                tuple(int(value) for value in frame["learning"]),
                tuple(float(value) for value in frame["rate"]),
                tuple(str(value) for value in frame["norm"].fillna("")),
                int(frame["parameters"].max()),
                tuple(frame["source"].eq("kept")) if "source" in frame else (),
            )
        )
    length = max((len(row.rates) for row in rows), default=0)
    return [row for row in rows if len(row.rates) == length]


def ledger_chart(facts: Facts, *, small: bool = False) -> Figure | None:
    """The ledger as a figure; None where there is none."""
    rows = ledger_rows(facts)
    if not rows or not rows[0].rates:
        return None
    phases, step = phases_of(facts), "strength" if facts.solved else "epoch"
    return Figure(
        ledger(rows, small=small, phases=phases, chosen=facts.best_epoch, epoch=step),
        f"Stages over {'regularisation strengths' if facts.solved else 'epochs'}, the head on top.",
        f"Phases: {phase_words(phases, step)}" if len(phases) > 1 else "",
    )


def phases_of(facts: Facts) -> list[tuple[str, int, int]]:
    """The phases of the strategy as they were done: name, first and last epoch."""
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


def ledger_table(facts: Facts) -> Table:
    """The ledger in words: the ranges of epochs in which each stage did one thing."""
    rows: list[Row] = []
    for stage, frame in facts.ledger.groupby("stage", sort=False):
        state = (frame["learning"] > 0).astype(str) + frame["norm"].astype(str)
        for _, part in frame.groupby((state != state.shift()).cumsum()):
            first, last = int(part["epoch"].iloc[0]), int(part["epoch"].iloc[-1])
            trained = int(part["learning"].iloc[0])
            rates = [float(value) for value in part["rate"]]
            span = rate(rates[0]) if rates[0] == rates[-1] else f"{rate(rates[0])} to {rate(rates[-1])}"
            cells = (
                str(first) if first == last else f"{first} to {last}",
                number(int(part["parameters"].iloc[0])),
                number(trained) if trained else "frozen",
                ("solved" if facts.solved else span) if trained else "–",
                str(part["norm"].iloc[0]),
            )
            rows.append(Row(shortened(str(stage), 40), cells))
    columns = (
        Column("stage"), Column("strengths" if facts.solved else "epochs", numeric=True),
        Column("parameters", numeric=True), Column("trained", numeric=True), Column("learning rate", numeric=True),
        Column("norm layers"),
    )  # fmt: skip
    return Table("Trained stages, from input to head", columns, tuple(rows), stacks=True, titled=True)


def ledger_notes(facts: Facts) -> list[str]:
    """How to read the ledger, and the norm modes in it."""
    frozen = (
        "Hatched: frozen, its parameters did not change by one bit. Plain: frozen and not computed again, because its "
        "output was cached."
    )
    if facts.solved:
        notes = [f"Filled: the stage was solved with that regularisation strength. {frozen}"]
        notes.append("The figure shows what was done, not what was planned.")
    else:
        notes = [
            "Filled: the stage was trained in that epoch; striped: only some of its parameters. The height is its "
            f"learning rate, relative to the highest of the row, which is at the right. {frozen}",
            "The figure shows what was done, not what was planned: the ledger is written at the start of each epoch.",
        ]
    modes = [mode for mode in NORMS if mode in set(facts.ledger["norm"])]
    if modes:
        notes.append(
            f"Letters: what the norm layers did. {' '.join(f'{m[0].upper()} ({m}): {NORMS[m]}.' for m in modes)}"
        )
    return notes


def frozen_notes(facts: Facts) -> list[str]:
    """What was decided on the output of frozen stages, by phase; once where it is the same."""
    found = [f"{each['phase']}: {each['why']}" for each in facts.frozen.values() if each["stages"]]
    return [f"Frozen stages, {sentence(each)}" for each in dict.fromkeys(found)]


def training_words(facts: Facts) -> str:
    """A summary of training in a few sentences."""
    log, asked = facts.log, facts.recipe.training
    if not log:
        return "The run has no log of its training."
    if facts.solved:
        return _solved(facts)
    done, best = len(log), facts.best_epoch
    text = [f"{count(done, 'epoch')} of {number(asked.epochs)} planned."]
    if done < asked.epochs and asked.patience:
        text.append(f"Training stopped early, after {count(asked.patience, 'epoch')} without a better value.")
    parts = [(int(line["epoch"]), int(line["parts"])) for line in log if line.get("parts")]
    split = [(epoch, n) for epoch, n in parts if n > asked.accumulation_steps]
    if split:
        text.append(
            f"Memory ran out: from epoch {split[0][0]} a batch was computed in {split[-1][1]} parts instead of "
            f"{asked.accumulation_steps}."
        )
    if best is not None:
        about = metric_name(validation_metric(facts))
        text.append(f"The weights of epoch {best} were saved, the best by validation {about.title}.")
    seconds = _numbers(facts, "seconds")
    if seconds:
        whole = facts.environment.get("seconds")
        of_all = (
            f" of {duration(float(whole))} for the whole run"
            if isinstance(whole, int | float) and whole
            else ""
        )
        text.append(f"The epochs took {duration(sum(seconds))}{of_all}.")
    waits, speeds = _numbers(facts, "data_wait"), _numbers(facts, "images_per_second")
    if waits:
        text.append(f"On average, {percent(sum(waits), len(waits), 0)} of an epoch was waiting for data.")
    if speeds:
        speed = number(round(speeds[-1])) if speeds[-1] >= 10 else f"{speeds[-1]:.2g}"
        text.append(f"Speed of the last epoch: {speed} {plural(facts.image)} per second.")
    return " ".join(text)


def _numbers(facts: Facts, key: str) -> list[float]:
    return [float(line[key]) for line in facts.log if isinstance(line.get(key), int | float)]


def _solved(facts: Facts) -> str:
    """How the head was found where it was solved and not trained in epochs."""
    log = facts.log
    best = next(line for line in log if line["epoch"] == facts.best_epoch)
    iterations = sum(int(line["iterations"]) for line in log)
    text = [
        f"The head was solved for {count(len(log), 'regularisation strength')} by L-BFGS, in "
        f"{count(iterations, 'iteration')} over all training cases at once.",
        f"Strength {facts.best_epoch} ({best['strength']:g}) was chosen, the best by validation "
        f"{metric_name(validation_metric(facts)).title}.",
    ]
    unsolved = sum(not line["converged"] for line in log)
    if unsolved:
        text.append(
            f"For {number(unsolved)} of them the solver did not converge: the gradient exceeds the tolerance."
        )
    return " ".join(text)
