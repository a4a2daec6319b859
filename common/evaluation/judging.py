"""Everything that is to be said of one table of predictions: several protocols, parts and targets; and its file."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graftwork.common.checksums import verified
from graftwork.common.documents import read_json
from graftwork.common.errors import RunError, UsageError
from graftwork.common.evaluation.evaluating import evaluate
from graftwork.common.evaluation.predictions import TargetLike
from graftwork.common.evaluation.protocols import Protocol
from graftwork.common.evaluation.results import Evaluation
from graftwork.common.files import write_json

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["FURTHER", "judge", "keep", "kept_further", "target_of"]

FURTHER = "further_metrics.json"
FORMAT = 1
SEEN = "seen"  # the part of cases that were held out of groups that were learned from


def target_of(protocol: Protocol, targets: Sequence[TargetLike]) -> TargetLike | None:
    """The target that a protocol judges: the first, or the one of its name; None where there is none of its kind."""
    names = [getattr(each, "name", "") for each in targets]
    if protocol.target and protocol.target not in names:
        return None
    found = targets[names.index(protocol.target) if protocol.target else 0]
    return found if found.kind == protocol.kind else None


def judge(
    predictions: pd.DataFrame,
    targets: Sequence[TargetLike],
    first: Protocol,
    further: Iterable[Protocol] = (),
    **how: Any,
) -> tuple[Evaluation, tuple[Evaluation, ...]]:
    """Judge a table by its first protocol on the part test, and by all else that has something to judge.

    Args:
        targets: of the manifest, the first one first.
        further: protocols of other targets, or of cases put together; `first` among them is not asked twice.
        how: as `evaluate` takes it: threshold, target_value, bootstrap, seed, confidence, group.

    Returns:
        the evaluation by `first`; and those by `first` on the part "seen", then by each of `further` on "test" and
        on "seen". One whose target, column or part the table lacks, or of which no case is known, is left out.

    Raises:
        UsageError: `first` judges a target that there is not. TableError: as `evaluate`.
    """
    target = target_of(first, targets)
    if target is None:
        wanted = repr(first.target) if first.target else "the first target"
        known = ", ".join(f"{getattr(each, 'name', '')!r} ({each.kind})" for each in targets)
        raise UsageError(
            f"it judges {wanted} ({first.kind}); there are {known}",
            where=f"protocol {first.name!r}",
            remedy="name another protocol",
        )
    found = evaluate(predictions, target, first, **how)
    others = []
    for protocol, part in [
        (first, SEEN),
        *((each, part) for each in further if each != first for part in ("test", SEEN)),
    ]:
        target = target_of(protocol, targets)
        there = bool((predictions["part"] == part).any()) and protocol.by in ("", *predictions.columns)
        if target is not None and there:
            evaluation = evaluate(predictions, target, protocol, part=part, **how)
            others += [evaluation] if evaluation.n else []
    return found, tuple(others)


def keep(folder: Path, found: Evaluation, others: Sequence[Evaluation]) -> None:
    """Write metrics.json and, where there are others, further_metrics.json beside it."""
    if others:
        write_json(folder / FURTHER, {"format": FORMAT, "evaluations": [each.to_json() for each in others]})
    else:
        (folder / FURTHER).unlink(missing_ok=True)
    write_json(folder / "metrics.json", found.to_json())  # last: with it, the predictions are judged


def kept_further(folder: str | os.PathLike[str]) -> tuple[Evaluation, ...]:
    """The evaluations in further_metrics.json; none where there is no such file.

    Raises:
        RunError, TableError: the file is damaged.
    """
    place = Path(folder) / FURTHER
    if not place.is_file():
        return ()
    remedy = "make it again with `graftwork evaluate`"
    try:
        content = read_json(verified(place, remedy=remedy), RunError, remedy=remedy)
        if content["format"] != FORMAT:
            raise ValueError(f"format {content['format']!r}, not {FORMAT}")
        return tuple(Evaluation.from_json(each) for each in content["evaluations"])
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(f"damaged: {error}", where=place, remedy=remedy) from error
