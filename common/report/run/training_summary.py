"""What was done to train, in words: from the log and the ledger, not from the recipe."""

from __future__ import annotations

from graftwork.common.report.formatting import count, duration, metric_name, number, percent, plural
from graftwork.common.report.run import run_figures
from graftwork.common.report.run.run_facts import NORMS, Facts


def _speed(value: float) -> str:
    return number(round(value)) if value >= 10 else f"{value:.2g}"


def ledger_notes(facts: Facts) -> list[str]:
    """How the ledger is read, and what the norm modes in it mean."""
    modes = [mode for mode in NORMS if mode in set(facts.ledger["norm"])]
    if facts.solved:
        said = [
            "Filled: the stage was solved at that strength of the penalty. Hatched: frozen, its parameters the same "
            "to the bit; plain: frozen and not even run, since what it puts out was kept.",
            "What was applied is shown, not what was planned.",
        ]
    else:
        said = [
            "Filled: the stage learned in that epoch; striped: only some of its parameters. The height is its rate, "
            "relative to the highest of the row, which stands at the right. Hatched: frozen, its parameters the same "
            "to the bit; plain: frozen and not even run, since what it puts out was kept.",
            "What was applied is shown, not what was planned: the ledger is written as each epoch begins.",
        ]
    if modes:
        said.append(
            f"Letters say what the norm layers did. {' '.join(f'{m[0].upper()} ({m}): {NORMS[m]}.' for m in modes)}"
        )
    return said


def training_words(facts: Facts) -> str:
    """How training went, in a few sentences."""
    log = facts.log
    planned = facts.recipe.training.epochs
    if not log:
        return "The run kept no log of its training."
    done, best = len(log), facts.best_epoch
    if facts.solved:
        return _solved(facts)
    said = [f"{count(done, 'epoch')} of {number(planned)} planned."]
    if done < planned and facts.recipe.training.patience:
        said.append(
            f"Training ended early, after {count(facts.recipe.training.patience, 'epoch')} without a better value."
        )
    parts = [(int(line["epoch"]), int(line["parts"])) for line in log if line.get("parts")]
    begun = facts.recipe.training.accumulation_steps
    halved = [(epoch, number_of) for epoch, number_of in parts if number_of > begun]
    if halved:
        said.append(
            f"Memory ran out: from epoch {halved[0][0]} on a batch was worked through in {halved[-1][1]} parts "
            f"in place of {begun}."
        )
    if best is not None:
        about = metric_name(run_figures.validation_metric(facts))
        said.append(f"The weights of epoch {best} were kept, the best by validation {about.title}.")
    seconds = [float(line["seconds"]) for line in log if isinstance(line.get("seconds"), int | float)]
    if seconds:
        whole = facts.environment.get("seconds")
        all_of_it = (
            f" of {duration(float(whole))} for the whole run"
            if isinstance(whole, int | float) and whole
            else ""
        )
        said.append(f"The epochs took {duration(sum(seconds))}{all_of_it}.")
    waits = [float(line["data_wait"]) for line in log if isinstance(line.get("data_wait"), int | float)]
    if waits:
        said.append(f"On average {percent(sum(waits), len(waits), 0)} of an epoch was waiting for data.")
    speeds = [
        float(line["images_per_second"])
        for line in log
        if isinstance(line.get("images_per_second"), int | float)
    ]
    if speeds:
        said.append(f"The last epoch ran at {_speed(speeds[-1])} {plural(facts.picture)} per second.")
    return " ".join(said)


def _solved(facts: Facts) -> str:
    """How a head was found that was solved and not trained."""
    log = facts.log
    best = next(line for line in log if line["epoch"] == facts.best_epoch)
    iterations = sum(int(line["iterations"]) for line in log)
    said = [
        f"The head was solved to convergence for {count(len(log), 'strength')} of a penalty on its weights, by "
        f"L-BFGS in {count(iterations, 'iteration')} over all training cases at once.",
        f"Strength {facts.best_epoch} ({best['strength']:g}) was kept, the best by validation "
        f"{metric_name(run_figures.validation_metric(facts)).title}.",
    ]
    open_ones = sum(not line["converged"] for line in log)
    if open_ones:
        said.append(f"For {number(open_ones)} of them the gradient stayed above the tolerance.")
    return " ".join(said)
