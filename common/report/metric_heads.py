"""A metric as the head of a row: its name for people, its unit, and which way is better."""

from __future__ import annotations

from graftwork.common.evaluation.metric_texts import EXCLUSIVE, METRICS
from graftwork.common.report.wording import metric_name

__all__ = ["direction", "title_of"]


def title_of(metric: str, kind: str, name: str = "") -> str:
    """A metric for people, of a kind of target, with its unit where it is not on the scale from 0 to 1.

    `name`: what a protocol calls it, where that is something else.
    """
    about = metric_name(metric, exclusive=kind in EXCLUSIVE)
    name = name or about.title
    title = name[:1].upper() + name[1:]
    return title if about.unit in ("", "0 to 1") else f"{title} ({about.unit})"


def direction(metric: str) -> str:
    """`; lower is better`, or an empty text where higher is."""
    better = METRICS[metric].better if metric in METRICS else "higher"
    return "" if better == "higher" else f"; {better} is better"
