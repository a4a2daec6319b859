"""Protocols as data: metrics, unit of analysis, classes, conventions and published values.

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
    """A published value of a metric, 0..1, with what it was measured on and its source.

    `label`: the class; empty for the whole.
    """

    metric: str
    value: float
    what: str
    source: str
    label: str = ""


@dataclass(frozen=True)
class Protocol:
    """How predictions are evaluated.

    Attributes:
        name, version: for citation. The version increases when a number can change.
        title, source: for reports; the source of the conventions.
        unit: of analysis, in the singular: "image". kind: of the target.
        primary: the metric for early stopping and comparisons; higher is better.
        metrics: the reported metrics, in this order; names in `METRICS`.
        aggregation: how images are combined into units, in a sentence; empty where an image is the unit.
        labels: what the labels are and how unknown ones are treated.
        threshold: the rule for the threshold, chosen on validation.
        notes: sentences for the reader. published: published values.
        group: the unit of resampling and splitting, in the singular: "patient".
        classes: the classes of the target, if the protocol fixes them; binary: (negative, positive);
            segmentation: (background, ...).
        target: the name of the target in the manifest; empty for the first.
        by: the column whose equal values form one unit of evaluation, such as "event"; empty where each case is
            evaluated alone.
        pooling: how the scores of a unit are computed from its cases. rest: the exclusive class that yields to the
            others of a unit, such as that of empty images. See `units.py`.
        empty: segmentation: Dice and Jaccard of a class that is in neither truth nor prediction, 1 or undefined.
        ties: multi-class: a case whose largest score is shared by several classes is predicted as the first of them, or
            counted as wrong.
        masks: segmentation: rules for two folders of masks; None for a table of counts.
        nothing: words in a list of labels that mean no finding, such as "No Finding".
        other_labels: classes of the data that the protocol does not evaluate; their columns and names are ignored.
        tables: tables of the datasets that are read as labels.

    Raises:
        UsageError: a metric, kind or rule that is unknown or does not apply to this kind; a primary metric that is not
            reported or is better when lower.
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
        faults = [f"the metric {name!r} is unknown" for name in self.metrics if name not in METRICS]
        if self.kind not in _KINDS:
            faults.append(f"the kind {self.kind!r} is not one of {', '.join(_KINDS)}")
        else:
            faults += [
                f"the metric {name!r} does not apply to {self.kind} targets"
                for name in self.metrics
                if name in METRICS and not self._applies(name)
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

    def _applies(self, metric: str) -> bool:
        if self.masks is not None and self.kind == "segmentation":
            return METRICS[metric].region is not None
        return self.kind in METRICS[metric].kinds

    def _unit_faults(self) -> list[str]:
        """Errors in how cases are combined, and rules that do not apply to this kind."""
        faults = []
        for name, allowed in (
            ("pooling", ("mean", "max")),
            ("empty", ("one", "undefined")),
            ("ties", ("first", "wrong")),
        ):
            if getattr(self, name) not in allowed:
                faults.append(f"{name} is one of {', '.join(allowed)}, not {getattr(self, name)!r}")
        if self.rest and (self.kind != "multi-class" or not self.by):
            faults.append("rest needs a multi-class target whose cases are combined (by)")
        if self.rest and self.classes and self.rest not in self.classes:
            faults.append(f"rest {self.rest!r} is not among its classes")
        if self.pooling != "mean" and (not self.by or self.kind == "segmentation"):
            faults.append("pooling needs scores that are combined (by)")
        if self.ties != "first" and self.kind != "multi-class":
            faults.append("ties need a multi-class target")
        if self.empty != "one" and self.kind != "segmentation":
            faults.append("empty needs a segmentation target")
        return faults

    def with_metrics(self, names: Sequence[str]) -> Protocol:
        """The protocol with additional metrics; metrics that it already has are not repeated.

        Raises:
            UsageError: an unknown metric, or one for another kind of target.
        """
        unknown = [name for name in names if name not in METRICS]
        if unknown:
            near = get_close_matches(unknown[0], METRICS, n=1)
            raise UsageError(
                f"the metric {unknown[0]!r} is unknown",
                where=f"protocol {self.name!r}",
                remedy=f"write {near[0]!r}"
                if near
                else f"name one of {', '.join(name for name in METRICS if self._applies(name))}",
            )
        return replace(self, metrics=tuple(dict.fromkeys((*self.metrics, *names))))

    def refuse_shapes(self) -> None:
        """Refuse a table of scores for a protocol of masks or boxes, and name the right command.

        Raises:
            UsageError: the protocol evaluates masks or boxes.
        """
        ways = {
            "segmentation": ("masks", "the folders: `graftwork evaluate seg --truth DIR --predicted DIR`"),
            "boxes": ("boxes", "both files: `graftwork evaluate boxes --truth FILE --predicted FILE`"),
        }
        if self.kind in ways:
            what, way = ways[self.kind]
            raise UsageError(
                f"the protocol evaluates {what}, not a table of scores",
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
        """The title of a metric; for the 95 % Hausdorff distance with the definition of this protocol."""
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
            rule, chosen_on: the rule and the part by which thresholds were chosen; "fixed" for a given threshold.
                Default: the rule of the protocol, on validation. group: the unit of resampling, if not that of the
                protocol.
            unchosen: why no threshold could be chosen, in a sentence.
        """
        return "\n\n".join(
            [
                f"## {self.title}",
                f"Evaluation by the protocol `{self.name}`, version {self.version} ({self.source}).",
                " ".join(
                    part
                    for part in (self._units(), self.aggregation, self._combined(), self._labels())
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

    def _combined(self) -> str:
        """How cases are combined into units."""
        if not self.by:
            return ""
        start = f"Cases of one {self.by} are combined before the evaluation: "
        if self.kind == "segmentation":
            return f"{start}their volumes are added, so that each {self.unit} is evaluated as a whole."
        scores = {
            "binary": "the largest positive score of its cases",
            "ordinal": "the scores of the case with the highest expected class",
            "multi-class": "the largest score of each class, rescaled to sum to 1",
        }.get(self.kind, "the largest score of each class")
        among = f"one class other than {self.rest}" if self.rest else "one class"
        truth = {
            "multi-class": f"its label is the {among} that occurs"
            + (f", else {self.rest}" if self.rest else "")
            + "; if several occur, it is unknown",
            "ordinal": "its label is the largest known class",
            "binary": "it is positive if any case is positive",
        }.get(self.kind, "a class is present if it is present in any case")
        return f"{start}its scores are {scores if self.pooling == 'max' else 'the mean over its cases'}; {truth}."

    def _labels(self) -> str:
        return self.labels or "Cases with an unknown label are left out and counted."

    def _measures(self) -> str:
        mark = {self.primary: " (primary)"}
        lines = [
            f"- **{self.title_of(name)}**{mark.get(name, '')}: {self.definition(name)}."
            for name in self.metrics
        ]
        one = " Metrics of single classes are averaged over the classes for which they are defined."
        both = "are 1" if self.empty == "one" else "are undefined, and the unit is left out and counted"
        many = {
            "binary": "",
            "counts": "",
            "boxes": " Each class is evaluated separately; means are over the classes with a true box.",
            "multi-class": one,
            "ordinal": one,
            "segmentation": f"{one} Where neither truth nor prediction holds a class, its Dice coefficient and "
            f"Jaccard index {both}; where only one of them does, they are 0."
            if self.masks is None
            else f"{one} {self.masks.sentences()}",
            "multi-label": " Each class is evaluated separately over the cases whose label of that class is "
            "known; means are over the classes for which the metric is defined.",
        }[self.kind]
        return (
            "We report\n\n"
            + "\n".join(lines)
            + f"\n\nWhere a metric is undefined, we report the reason and no number.{many}"
        )

    def _threshold(self, target: float, rule: str, chosen_on: str, unchosen: str) -> str:
        if self.kind in EXCLUSIVE:
            tied = "if several classes share it, the case counts as wrong" if self.ties == "wrong" else ""
            return f"A case is predicted as the class with the largest score; {tied or 'of equal scores, the first'}."
        each = " of each class" if self.kind == "multi-label" else ""
        if unchosen:
            return f"{unchosen[:1].upper()}{unchosen[1:]}. Metrics that need a threshold are undefined."
        if rule not in _RULES:
            return f"The threshold{each} was fixed in advance; scores at or above it are positive."
        aim = "" if rule == "youden" else f", {target:g}"
        return (
            f"The threshold{each} was chosen on the {chosen_on} part, {_RULES[rule]}{aim}, and was fixed for the test "
            "part; scores at or above it are positive. The test part was not used to choose thresholds or epochs."
        )

    def _intervals(self, replicates: int, confidence: float, group: str) -> str:
        alone = group in (self.unit, "case")
        drawn = f"as many {plural(self.unit if alone else group)} as there are, with replacement"
        whole = "" if alone else f", with all {plural(self.unit)} of each as often as it was drawn"
        kind = "bootstrap" if alone else "cluster bootstrap"
        return (
            f"Intervals are {confidence * 100:g} % expanded percentile intervals (Hesterberg 2015) of a {kind}: "
            f"{replicates:,} replicates, each drawing {drawn}{whole}. Undefined "
            "replicates are dropped and counted; if more than 5 % are undefined, no interval is given."
        )

    def _published(self) -> str:
        values_of: dict[tuple[str, str, str], list[str]] = {}
        for each in self.published:
            title = self.title_of(each.metric) if each.metric in METRICS else each.metric
            value = f"{each.value:g} of {each.label}" if each.label else f"{each.value:g}"
            values_of.setdefault((title, each.what, each.source), []).append(value)
        lines = [
            f"- {title} {', '.join(values)}: {what} ({source})"
            for (title, what, source), values in values_of.items()
        ]
        return "Published values:\n\n" + "\n".join(lines)
