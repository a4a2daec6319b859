"""How tables of predictions and of truth are to be read, where they do not say it themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

from graftwork.common.errors import UsageError

LOOK_ALIKES = "look-alikes"


class ReadingOptions(TypedDict, total=False):
    """The fields of `Reading`, as keywords of `evaluate_file`, `compare` and `calibrate`."""

    case: str
    score: str
    truth_column: str
    part_column: str
    model: str
    model_column: str
    positive: str
    ranks: bool
    ignore_labels: tuple[str, ...]
    nothing: tuple[str, ...]
    allow: tuple[str, ...]


@dataclass(frozen=True)
class Reading:
    """How a caller describes the tables; empty options: columns are found by their usual names.

    Attributes:
        case, score, truth_column, part_column, model_column: columns, in either table. `part_column` "none": no column
            says the part.
        model: whose rows are read, of a table of several models. positive: the value of the positive class.
        ranks: the scores have any range and only their order counts (AUROC, average precision).
        ignore_labels: classes that are not evaluated. nothing: words of a list of classes that say that none is there.
        allow: findings that do not count: "look-alikes", names of cases or groups that differ in case, leading zeros,
            `.0` or punctuation alone.

    Raises:
        UsageError: `allow` names a finding that there is not.
    """

    case: str = ""
    score: str = ""
    truth_column: str = ""
    part_column: str = ""
    model: str = ""
    model_column: str = ""
    positive: str = ""
    ranks: bool = False
    ignore_labels: tuple[str, ...] = ()
    nothing: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("ignore_labels", "nothing", "allow"):
            given = getattr(self, name)
            if isinstance(given, str):  # one word, not its letters
                given = tuple(each.strip() for each in given.split(",") if each.strip())
            object.__setattr__(self, name, tuple(given))
        odd = [each for each in self.allow if each != LOOK_ALIKES]
        if odd:
            raise UsageError(
                f"found {', '.join(map(repr, odd))}, expected {LOOK_ALIKES}",
                where="--allow",
                remedy=f"write {LOOK_ALIKES}",
            )

    def refuse_idle(self, kind: str) -> None:
        """Refuse options that do nothing for a kind of target, since they would be taken for ones that did.

        Raises:
            UsageError: one was given.
        """
        of = {"positive": ("binary",), "nothing": ("multi-label",)}
        for name, kinds in of.items():
            if getattr(self, name) and kind not in kinds:
                raise UsageError(
                    f"it is for {kinds[0]} targets, and the protocol's are {kind}",
                    where=f"--{name}",
                    remedy="leave it out",
                )
