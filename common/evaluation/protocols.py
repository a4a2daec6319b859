"""Protocols as data: what is measured on what, by which conventions, and what others have published by them.

Plain dataclasses. Importing this module imports neither numpy nor pandas nor scipy.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from graftwork.common.errors import UsageError

__all__ = ["METRICS", "MetricText", "Protocol", "Published", "plural"]


@dataclass(frozen=True)
class MetricText:
    """What a metric is, for people: a title, its definition in a sentence, and which way is better.

    `exclusive` is the definition for several exclusive classes, where it differs.
    """

    title: str
    definition: str
    better: Literal["higher", "lower"] = "higher"
    exclusive: str = ""


METRICS: Mapping[str, MetricText] = MappingProxyType(
    {
        "auroc": MetricText(
            "area under the ROC curve (AUROC)",
            "the share of pairs of a positive and a negative case that the score puts in the right order, "
            "ties counted half",
            exclusive="one class against the rest: the share of pairs of a case of the class and another "
            "that the score of the class puts in the right order, ties counted half",
        ),
        "average_precision": MetricText(
            "average precision",
            "the sum over distinct thresholds of the step in recall times the precision there, "
            "without interpolation",
            exclusive="one class against the rest: the sum over distinct thresholds of the step in recall "
            "times the precision there, without interpolation",
        ),
        "sensitivity": MetricText(
            "sensitivity",
            "the share of positive cases with a score at or above the threshold",
            exclusive="the share of the cases of a class that were given that class",
        ),
        "specificity": MetricText(
            "specificity",
            "the share of negative cases with a score below the threshold",
            exclusive="the share of the cases of other classes that were not given the class",
        ),
        "accuracy": MetricText(
            "accuracy",
            "the share of cases decided rightly at the threshold",
            exclusive="the share of cases that were given the right class",
        ),
        "balanced_accuracy": MetricText(
            "balanced accuracy",
            "the mean of sensitivity and specificity at the threshold",
            exclusive="the mean over the classes present in the truth of the share given the right class",
        ),
        "brier": MetricText(
            "Brier score",
            "the mean squared difference of the predicted probability and the outcome, 0 or 1",
            "lower",
            exclusive="the squared differences of predicted probabilities and outcomes, summed over classes "
            "and averaged over cases",
        ),
        "ece_top_label": MetricText(
            "expected calibration error (top-label)",
            "the mean difference, in 15 equal-width right-closed bins of the probability of the class "
            "decided for, between that probability and the share decided rightly; resampling adds noise to "
            "it, so that its interval can lie above a small value",
            "lower",
        ),
    }
)

_KINDS = ("binary", "multi-class", "multi-label")
_DECISIONS = frozenset({"sensitivity", "specificity", "accuracy", "balanced_accuracy"})
_RULES = {
    "youden": "as the score with the largest sensitivity + specificity - 1",
    "sensitivity": "as the highest score whose sensitivity reaches the target",
    "specificity": "as the lowest score whose specificity reaches the target",
}


@dataclass(frozen=True)
class Published:
    """A number that somebody has published by a protocol, to stand beside ours: 0..1, on what, and where."""

    metric: str
    value: float
    what: str
    source: str


@dataclass(frozen=True)
class Protocol:
    """How predictions become numbers.

    Attributes:
        name, version: how it is cited. The version rises when any number can change.
        title, source: for people; where the conventions come from.
        unit: of analysis, in the singular: "image". kind: of the target.
        primary: the metric that decides (early stopping, comparisons); higher is better.
        metrics: what is reported, in this order; names in `METRICS`.
        aggregation: how pictures become units, in a sentence; empty where a picture is the unit.
        labels: what the labels are and what becomes of unknown ones.
        threshold: the rule by which the threshold is chosen on validation.
        notes: what a reader must know, a sentence each. published: values of others.
        group: what is resampled and never split, in the singular: "patient".
        classes: the classes of the target, where the protocol fixes them; binary: (negative, positive).

    Raises:
        UsageError: an unknown metric, kind or rule; a primary metric not reported or better when lower.
    """

    name: str
    version: int
    title: str
    source: str
    unit: str
    kind: Literal["binary", "multi-class", "multi-label"]
    primary: str
    metrics: tuple[str, ...]
    aggregation: str = ""
    labels: str = ""
    threshold: str = "youden"
    notes: tuple[str, ...] = ()
    published: tuple[Published, ...] = ()
    group: str = "group"
    classes: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        for name in ("metrics", "notes", "published", "classes"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        faults = [f"the metric {name!r} is not known" for name in self.metrics if name not in METRICS]
        if self.kind not in _KINDS:
            faults.append(f"the kind {self.kind!r} is not one of {', '.join(_KINDS)}")
        if self.threshold not in _RULES:
            faults.append(f"the threshold's rule {self.threshold!r} is not one of {', '.join(_RULES)}")
        if len(set(self.metrics)) != len(self.metrics):
            faults.append("a metric is named twice")
        if self.primary not in self.metrics:
            faults.append(f"the primary metric {self.primary!r} is not among its metrics")
        elif self.primary in METRICS and METRICS[self.primary].better != "higher":
            faults.append(f"the primary metric {self.primary!r} is better when it is lower")
        if faults:
            raise UsageError("; ".join(faults), where=f"protocol {self.name!r}")

    def definition(self, metric: str) -> str:
        """The definition of a metric for this protocol's kind of target."""
        text = METRICS[metric]
        return text.exclusive if self.kind == "multi-class" and text.exclusive else text.definition

    def methods(self, *, replicates: int = 2000, confidence: float = 0.95, target: float = 0.95) -> str:
        """A methods section for a paper, in Markdown: unit, labels, metrics, threshold, intervals.

        Args:
            replicates, confidence: of the bootstrap. target: of the threshold's rule, where it has one.
        """
        return "\n\n".join(
            [
                f"## {self.title}",
                f"Evaluation by the protocol `{self.name}`, version {self.version} ({self.source}).",
                " ".join(part for part in (self._units(), self.aggregation, self._labels()) if part),
                self._measures(),
                *([self._threshold(target)] if _DECISIONS & set(self.metrics) else []),
                self._intervals(replicates, confidence),
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
        elif self.classes:
            how = "one of" if self.kind == "multi-class" else "each of"
            against = f" The task is {self.kind}: {how} {', '.join(self.classes)}."
        return f"The unit of analysis is the {self.unit}.{against}"

    def _labels(self) -> str:
        return self.labels or "Cases with an unknown label are left out and counted."

    def _measures(self) -> str:
        mark = {self.primary: " (primary)"}
        lines = [
            f"- **{METRICS[name].title}**{mark.get(name, '')}: {self.definition(name)}."
            for name in self.metrics
        ]
        many = {
            "binary": "",
            "multi-class": " Metrics of one class are averaged over the classes for which they are defined.",
            "multi-label": " Each class is judged by itself over the cases whose label of that class is "
            "known; means are over the classes for which the metric is defined.",
        }[self.kind]
        return (
            "We report\n\n"
            + "\n".join(lines)
            + f"\n\nWhere a metric is undefined, we say why and give no number.{many}"
        )

    def _threshold(self, target: float) -> str:
        if self.kind == "multi-class":
            return "A case is given the class with the largest score; of equals, the first."
        aim = "" if self.threshold == "youden" else f", {target:g}"
        each = " of each class" if self.kind == "multi-label" else ""
        return (
            f"The threshold{each} was chosen on the validation part, {_RULES[self.threshold]}{aim}, and was "
            "held fixed for the test part; scores at or above it are called positive. The test part had no "
            "share in the choice of thresholds or of epochs."
        )

    def _intervals(self, replicates: int, confidence: float) -> str:
        return (
            f"Intervals are {confidence * 100:g} % percentile intervals of a cluster bootstrap: "
            f"{replicates:,} replicates, each drawing as many {plural(self.group)} as there are, with "
            f"replacement, and taking all the {plural(self.unit)} of each with its multiplicity. Undefined "
            "replicates are dropped and counted; above 5 % of them no interval is given."
        )

    def _published(self) -> str:
        lines = [
            f"- {METRICS[each.metric].title if each.metric in METRICS else each.metric} {each.value:g}: "
            f"{each.what} ({each.source})"
            for each in self.published
        ]
        return "Published by others:\n\n" + "\n".join(lines)


def plural(noun: str) -> str:
    """patient, study: patients, studies"""
    ending = noun.endswith("y") and noun[-2:-1] not in tuple("aeiou")
    return f"{noun[:-1]}ies" if ending else f"{noun}s"
