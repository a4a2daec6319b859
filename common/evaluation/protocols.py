"""Protocols as data: what is measured on what, by which conventions, and what others have published by them.

Plain dataclasses. Importing this module imports neither numpy nor pandas nor scipy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Literal

from graftwork.common.errors import UsageError
from graftwork.common.evaluation.mask_rules import MaskRules
from graftwork.common.evaluation.metrics.registry import EXCLUSIVE, METRICS, SCORED
from graftwork.common.evaluation.tables.truth_tables import TruthTable
from graftwork.common.wording import plural

_KINDS = (*SCORED, "segmentation", "counts", "boxes")

_RULES = {
    "youden": "as the score with the largest sensitivity + specificity - 1",
    "sensitivity": "as the highest score whose sensitivity reaches the target",
    "specificity": "as the lowest score whose specificity reaches the target",
}


@dataclass(frozen=True)
class Published:
    """A number that somebody has published by a protocol, to stand beside ours: 0..1, on what, and where.

    `label`: of which class; empty for the whole.
    """

    metric: str
    value: float
    what: str
    source: str
    label: str = ""


@dataclass(frozen=True)
class Protocol:
    """How predictions become numbers.

    Attributes:
        name, version: how it is cited. The version rises when any number can change.
        title, source: for people; where the conventions come from.
        unit: of analysis, in the singular: "image". kind: of the target.
        primary: the metric that decides (early stopping, comparisons); higher is better.
        metrics: what is reported, in this order; names in `METRICS`.
        aggregation: how images become units, in a sentence; empty where an image is the unit.
        labels: what the labels are and what becomes of unknown ones.
        threshold: the rule by which the threshold is chosen on validation.
        notes: what a reader must know, a sentence each. published: values of others.
        group: what is resampled and never split, in the singular: "patient".
        classes: the classes of the target, where the protocol fixes them; binary: (negative, positive);
            segmentation: (background, ...).
        target: the name of the manifest's target that it judges; empty for the first.
        by: the column whose equal values are put together into one unit before it is judged, such as "event";
            empty where each case is judged alone.
        pooling: how the scores of a unit come from those of its cases. rest: the class, of exclusive ones, that
            yields to others in one unit, such as that of an image with nothing in it. See `units.py`.
        empty: segmentation, Dice and Jaccard of a class that neither truth nor prediction holds: 1, or undefined.
        ties: multi-class, a case whose largest score several classes share: given the first of them, or none of
            them and so wrong.
        masks: segmentation, how two folders of masks are judged; None where a table of counts is.
        nothing: words of a list of labels that say that none is there, such as "No Finding".
        other_labels: classes of the data that the protocol does not evaluate; their columns and names are ignored.
        tables: the datasets' own tables, known as truth.

    Raises:
        UsageError: an unknown metric, kind or rule, or one that does nothing for this kind; a primary metric not
            reported or better when lower.
    """

    name: str
    version: int
    title: str
    source: str
    unit: str
    kind: Literal["binary", "multi-class", "multi-label", "ordinal", "segmentation", "counts", "boxes"]
    primary: str
    metrics: tuple[str, ...]
    aggregation: str = ""
    labels: str = ""
    threshold: str = "youden"
    notes: tuple[str, ...] = ()
    published: tuple[Published, ...] = ()
    group: str = "group"
    classes: tuple[str, ...] = field(default=())
    target: str = ""
    by: str = ""
    pooling: Literal["mean", "max"] = "mean"
    rest: str = ""
    empty: Literal["one", "undefined"] = "one"
    ties: Literal["first", "wrong"] = "first"
    masks: MaskRules | None = None
    nothing: tuple[str, ...] = ()
    other_labels: tuple[str, ...] = ()
    tables: tuple[TruthTable, ...] = ()

    def __post_init__(self) -> None:
        for name in ("metrics", "notes", "published", "classes", "nothing", "other_labels", "tables"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        faults = [f"the metric {name!r} is not known" for name in self.metrics if name not in METRICS]
        if self.kind not in _KINDS:
            faults.append(f"the kind {self.kind!r} is not one of {', '.join(_KINDS)}")
        else:
            faults += [
                f"the metric {name!r} is not one of {self.kind} targets"
                for name in self.metrics
                if name in METRICS and not self._judges(name)
            ]
            faults += self._unit_faults()
        if self.threshold not in _RULES:
            faults.append(f"the threshold's rule {self.threshold!r} is not one of {', '.join(_RULES)}")
        if len(set(self.metrics)) != len(self.metrics):
            faults.append("a metric is named twice")
        if self.primary not in self.metrics:
            faults.append(f"the primary metric {self.primary!r} is not among its metrics")
        elif self.primary in METRICS and METRICS[self.primary].better != "higher":
            faults.append(
                f"the primary metric {self.primary!r} is better when it is {METRICS[self.primary].better}"
            )
        if faults:
            raise UsageError(
                "; ".join(faults),
                where=f"protocol {self.name!r}",
                remedy="correct the definition of the protocol",
            )

    def _judges(self, metric: str) -> bool:
        if self.masks is not None and self.kind == "segmentation":
            return METRICS[metric].region is not None
        return self.kind in METRICS[metric].kinds

    def _unit_faults(self) -> list[str]:
        """What is wrong with how cases are put together, and with rules that do nothing for this kind."""
        faults = []
        for name, allowed in (
            ("pooling", ("mean", "max")),
            ("empty", ("one", "undefined")),
            ("ties", ("first", "wrong")),
        ):
            if getattr(self, name) not in allowed:
                faults.append(f"{name} is one of {', '.join(allowed)}, not {getattr(self, name)!r}")
        if self.rest and (self.kind != "multi-class" or not self.by):
            faults.append("rest is of a multi-class target whose cases are put together (by)")
        if self.rest and self.classes and self.rest not in self.classes:
            faults.append(f"rest {self.rest!r} is not among its classes")
        if self.pooling != "mean" and (not self.by or self.kind == "segmentation"):
            faults.append("pooling is of scores that are put together (by)")
        if self.ties != "first" and self.kind != "multi-class":
            faults.append("ties are of a multi-class target")
        if self.empty != "one" and self.kind != "segmentation":
            faults.append("empty is of a segmentation")
        return faults

    def with_metrics(self, names: Sequence[str]) -> Protocol:
        """The protocol with further metrics after its own; those it has already are not named twice.

        Raises:
            UsageError: an unknown metric, or one of another kind of target.
        """
        unknown = [name for name in names if name not in METRICS]
        if unknown:
            near = get_close_matches(unknown[0], METRICS, n=1)
            raise UsageError(
                f"the metric {unknown[0]!r} is not known",
                where=f"protocol {self.name!r}",
                remedy=f"write {near[0]!r}"
                if near
                else f"one of {', '.join(name for name in METRICS if self._judges(name))}",
            )
        return replace(self, metrics=tuple(dict.fromkeys((*self.metrics, *names))))

    def refuse_shapes(self) -> None:
        """Say where to go with masks or boxes, where a table of scores was to be judged.

        Raises:
            UsageError: it judges masks or boxes.
        """
        ways = {
            "segmentation": ("masks", "the folders: `graftwork evaluate seg --truth DIR --predicted DIR`"),
            "boxes": ("boxes", "both files: `graftwork evaluate boxes --truth FILE --predicted FILE`"),
        }
        if self.kind in ways:
            what, way = ways[self.kind]
            raise UsageError(
                f"it judges {what}, not a table of scores",
                where=f"protocol {self.name!r}",
                remedy=f"give {way}",
            )

    def definition(self, metric: str) -> str:
        """The definition of a metric for this protocol's kind of target."""
        text = METRICS[metric]
        if self.masks is not None and metric == "hausdorff_95":
            return self.masks.distance
        return text.exclusive if self.kind in EXCLUSIVE and text.exclusive else text.definition

    def title_of(self, metric: str) -> str:
        """The name of a metric for people; of the 95 % Hausdorff distance with the definition that is followed."""
        title = METRICS[metric].title
        if self.masks is not None and metric == "hausdorff_95":
            return f"{title.partition(' (')[0]} ({self.masks.hausdorff})"
        return title

    def methods(
        self,
        *,
        replicates: int = 2000,
        confidence: float = 0.95,
        target: float = 0.95,
        rule: str = "",
        chosen_on: str = "validation",
        group: str = "",
        unchosen: str = "",
    ) -> str:
        """A methods section for a paper, in Markdown: unit, labels, metrics, threshold, intervals.

        Args:
            replicates, confidence: of the bootstrap. target: of the threshold's rule, where it has one.
            rule, chosen_on: by which, and on which part, thresholds were chosen; "fixed" for one given beforehand.
                Without them the protocol's rule, on validation. group: what was resampled, where it was something else.
            unchosen: a sentence that says why no threshold could be chosen, where none could.
        """
        return "\n\n".join(
            [
                f"## {self.title}",
                f"Evaluation by the protocol `{self.name}`, version {self.version} ({self.source}).",
                " ".join(
                    part
                    for part in (self._units(), self.aggregation, self._together(), self._labels())
                    if part
                ),
                self._measures(),
                *(
                    [self._threshold(target, rule or self.threshold, chosen_on, unchosen)]
                    if any("decision" in METRICS[name].needs for name in self.metrics)
                    else []
                ),
                self._intervals(replicates, confidence, group or self.group),
                *([" ".join(self.notes)] if self.notes else []),
                *([self._published()] if self.published else []),
            ]
        )

    def _units(self) -> str:
        against = ""
        if self.kind == "binary" and self.classes:
            against = (
                f" The task is binary: {self.classes[1]} (positive) against {self.classes[0]} (negative)."
            )
        elif self.kind == "segmentation":
            of = f": {', '.join(self.classes[1:])} against {self.classes[0]}" if self.classes else ""
            against = f" The task is segmentation{of}."
        elif self.classes:
            how = {"multi-class": "one of", "ordinal": "one, in this order, of"}.get(self.kind, "each of")
            against = f" The task is {self.kind}: {how} {', '.join(self.classes)}."
        return f"The unit of analysis is the {self.unit}.{against}"

    def _together(self) -> str:
        """How cases become units, where they do."""
        if not self.by:
            return ""
        start = f"Cases of one {self.by} are put together before they are judged: "
        if self.kind == "segmentation":
            return f"{start}their volumes are added up, so that each {self.unit} is judged as a whole."
        scores = {
            "binary": "the largest positive score of its cases",
            "ordinal": "the scores of the case with the highest expected class",
            "multi-class": "the largest score of each class, made to sum to 1",
        }.get(self.kind, "the largest score of each class")
        among = f"one class other than {self.rest}" if self.rest else "one class"
        truth = {
            "multi-class": f"its truth is the {among} that occurs"
            + (f", else {self.rest}" if self.rest else "")
            + "; where several occur it is unknown",
            "ordinal": "its truth is the largest known class",
            "binary": "it is positive where any case is",
        }.get(self.kind, "a class is present in it where it is in any case")
        return f"{start}its scores are {scores if self.pooling == 'max' else 'the mean over its cases'}; {truth}."

    def _labels(self) -> str:
        return self.labels or "Cases with an unknown label are left out and counted."

    def _measures(self) -> str:
        mark = {self.primary: " (primary)"}
        lines = [
            f"- **{self.title_of(name)}**{mark.get(name, '')}: {self.definition(name)}."
            for name in self.metrics
        ]
        one = " Metrics of one class are averaged over the classes for which they are defined."
        both = "are 1" if self.empty == "one" else "are undefined, and the unit is left out and counted"
        many = {
            "binary": "",
            "counts": "",
            "boxes": " Each class is judged by itself; means are over the classes of which the truth has a box.",
            "multi-class": one,
            "ordinal": one,
            "segmentation": f"{one} Where neither truth nor prediction holds a class, its Dice coefficient and "
            f"Jaccard index {both}; where only one of them does, they are 0."
            if self.masks is None
            else f"{one} {self.masks.sentences()}",
            "multi-label": " Each class is judged by itself over the cases whose label of that class is "
            "known; means are over the classes for which the metric is defined.",
        }[self.kind]
        return (
            "We report\n\n"
            + "\n".join(lines)
            + f"\n\nWhere a metric is undefined, we say why and give no number.{many}"
        )

    def _threshold(self, target: float, rule: str, chosen_on: str, unchosen: str) -> str:
        if self.kind in EXCLUSIVE:
            tied = "where several share it, none, and it counts as wrong" if self.ties == "wrong" else ""
            return f"A case is given the class with the largest score; {tied or 'of equals, the first'}."
        each = " of each class" if self.kind == "multi-label" else ""
        if unchosen:
            return f"{unchosen[:1].upper()}{unchosen[1:]}. Metrics that need a threshold are undefined."
        if rule not in _RULES:
            return f"The threshold{each} was fixed beforehand; scores at or above it are called positive."
        aim = "" if rule == "youden" else f", {target:g}"
        return (
            f"The threshold{each} was chosen on the {chosen_on} part, {_RULES[rule]}{aim}, and was "
            "held fixed for the test part; scores at or above it are called positive. The test part had no "
            "share in the choice of thresholds or of epochs."
        )

    def _intervals(self, replicates: int, confidence: float, group: str) -> str:
        alone = group in (self.unit, "case")
        drawn = f"as many {plural(self.unit if alone else group)} as there are, with replacement"
        whole = "" if alone else f", and taking all the {plural(self.unit)} of each with its multiplicity"
        kind = "bootstrap" if alone else "cluster bootstrap"
        return (
            f"Intervals are {confidence * 100:g} % expanded percentile intervals (Hesterberg 2015) of a {kind}: "
            f"{replicates:,} replicates, each drawing {drawn}{whole}. Undefined "
            "replicates are dropped and counted; above 5 % of them no interval is given."
        )

    def _published(self) -> str:
        told: dict[tuple[str, str, str], list[str]] = {}
        for each in self.published:
            title = self.title_of(each.metric) if each.metric in METRICS else each.metric
            value = f"{each.value:g} of {each.label}" if each.label else f"{each.value:g}"
            told.setdefault((title, each.what, each.source), []).append(value)
        lines = [
            f"- {title} {', '.join(values)}: {what} ({source})"
            for (title, what, source), values in told.items()
        ]
        return "Published by others:\n\n" + "\n".join(lines)
