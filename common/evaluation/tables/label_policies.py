"""What becomes of labels that are uncertain (-1) or blank (empty), class by class, by a policy that is named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from graftwork.common.errors import TableError, UsageError
from graftwork.common.evaluation.arrays import FloatArray
from graftwork.common.evaluation.tables.prediction_arrays import numbers
from graftwork.common.names import clean_name

Which = Literal["uncertain", "blank"]

POLICIES: Mapping[Which, tuple[str, ...]] = {
    "uncertain": ("ignore", "zero", "one", "self-trained"),
    "blank": ("ignore", "zero"),
}


def policy_by_class(
    policy: str | Mapping[str, str], classes: Sequence[str], which: Which = "uncertain"
) -> dict[str, str]:
    """A policy for each class it speaks of.

    Args:
        policy: one for all classes ("zero"), "A=one,B=ignore", or class to policy; classes that are not named keep
            their labels. which: of labels of -1, or of empty ones; see `POLICIES`.

    Raises:
        UsageError: an unknown class or policy, or a class that is named twice.
    """
    if not isinstance(policy, str):
        named = list(policy.items())
    elif "=" in policy:
        parts = (each.partition("=") for each in policy.split(","))
        named = [(clean_name(name), what.strip()) for name, _, what in parts]
    else:
        named = [(name, policy.strip()) for name in classes]
    found = dict(named)
    odd = [f"the class {name!r} is not known" for name in found if name not in classes]
    odd += [f"{what!r} is no policy" for what in dict.fromkeys(found.values()) if what not in POLICIES[which]]
    odd += ["a class is named twice"] if len(found) < len(named) else []
    if odd:
        raise UsageError(
            "; ".join(odd),
            where=which,
            remedy=f"write one of {', '.join(POLICIES[which])}, or CLASS=POLICY by comma",
        )
    return found


def settle_labels(
    labels: npt.ArrayLike,
    classes: Sequence[str],
    policy: str | Mapping[str, str],
    which: Which = "uncertain",
    probabilities: npt.ArrayLike | None = None,
) -> tuple[FloatArray, int]:
    """Labels with those that are uncertain, or those that are blank, settled by a policy.

    - `ignore`: unknown (NaN): no share in the loss or the metric of that class.
    - `zero`, `one`: taken as absent or as present.
    - `self-trained`: the probability that a converged model, itself trained with `ignore`, gives: a soft label to train
      the next model on. It is not a reference to evaluate predictions against.

    Args:
        labels: [n, K] of 0, 1, -1 (uncertain) and NaN (blank). classes: K names.
        policy: for all classes, as `policy_by_class` takes it, or class to policy.
        which: the labels that are settled; the others stay as they are.
        probabilities: [n, K], 0..1, for `self-trained`.

    Returns:
        the labels, [n, K], and how many were changed.

    Raises:
        UsageError: as `policy_by_class`; `self-trained` without probabilities.
        TableError: shapes that do not fit, other labels, probabilities outside 0..1.

    Source: U-Ignore, U-Zeros, U-Ones, U-SelfTrained of Irvin et al., AAAI 2019, arXiv:1901.07031.
    """
    found = np.array(labels, dtype=np.float64)
    if found.ndim != 2 or found.shape[1] != len(classes):
        raise TableError(
            f"labels {found.shape} do not fit {len(classes)} classes",
            where="labels",
            remedy="give one column for each class",
        )
    odd = np.unique(found[~np.isnan(found) & ~np.isin(found, (-1.0, 0.0, 1.0))])
    if odd.size:
        raise TableError(
            f"labels are 0, 1, -1 or empty, they hold {odd[0]:g}",
            where="labels",
            remedy="write each label as 0, 1, -1 or nothing",
        )
    by_class = policy_by_class(policy, classes, which)
    soft = None
    if "self-trained" in by_class.values():
        soft = _soft(probabilities, found.shape)
    changed = 0
    for name, what in by_class.items():
        column = list(classes).index(name)
        here = found[:, column] == -1 if which == "uncertain" else np.isnan(found[:, column])
        changed += int(here.sum())
        if soft is not None and what == "self-trained":
            found[here, column] = soft[here, column]
        else:
            found[here, column] = {"ignore": np.nan, "zero": 0.0, "one": 1.0}[what]
    return found, changed


def _soft(probabilities: npt.ArrayLike | None, shape: tuple[int, ...]) -> FloatArray:
    if probabilities is None:
        raise UsageError(
            "self-trained labels are the probabilities of a model that was trained with `ignore`; none are given",
            where="probabilities",
            remedy="train with ignore, predict the training cases, and give its probabilities",
        )
    soft = np.asarray(probabilities, dtype=np.float64)
    if soft.shape != shape:
        raise TableError(
            f"probabilities {soft.shape} do not fit labels {shape}",
            where="probabilities",
            remedy="give one probability for each label",
        )
    if not ((soft >= 0.0) & (soft <= 1.0)).all():
        raise TableError(
            "probabilities in 0..1 were expected",
            where="probabilities",
            remedy="give the probabilities of a model, from 0 to 1",
        )
    return soft


def settle_columns(made: dict[str, Any], kind: str, classes: Sequence[str], which: Which, policy: str) -> str:
    """Labels of -1, or empty ones, in columns `target_CLASS` become what a policy says.

    Args:
        made: column to its values, which are changed. kind, classes: of the target.
        which, policy: as `policy_by_class`.

    Returns:
        What was done, in a sentence.

    Raises:
        UsageError: as `policy_by_class`; targets that exclude each other, which have no such policy.
    """
    import pandas as pd

    if kind != "multi-label":
        raise UsageError(
            f"a policy is of labels that do not exclude each other, not of {kind} targets",
            where=f"--{which}",
            remedy="leave it out",
        )
    policies = policy_by_class(policy, classes, which)
    if "self-trained" in policies.values():
        raise UsageError(
            "self-trained labels are a model's own probabilities: something to train on, not a reference to evaluate "
            "against",
            where=f"--{which}",
            remedy="evaluate by ignore, zero or one; `settle_labels` makes self-trained labels for training",
        )
    changed = 0
    for name, what in policies.items():
        column = f"target_{name}"
        if column in made:
            values, odd = numbers(pd.Series(made[column]))
            label = ~odd & (np.isnan(values) | np.isin(values, (-1.0, 0.0, 1.0)))
            settled, count = settle_labels(values[label, None], [name], {name: what}, which)
            column_of = np.asarray(made[column], dtype=object)
            column_of[label] = settled[:, 0]  # what is no label stays, for `evaluate` to say
            made[column], changed = column_of, changed + count
    word = "Uncertain" if which == "uncertain" else "Empty"
    return f"{word} labels were taken by the policy {policy}: {changed:,} of them."
