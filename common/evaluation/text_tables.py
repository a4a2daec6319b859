"""Results as text tables for a terminal, and as HTML for a notebook."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING

from graftwork.common.evaluation.metrics.registry import METRICS

if TYPE_CHECKING:
    from graftwork.common.evaluation.compare_models import Comparison
    from graftwork.common.evaluation.readers import AgainstReaders
    from graftwork.common.evaluation.results import Evaluation


Rows = tuple[tuple[str, ...], list[tuple[object, ...]]]


def metric_text(name: str) -> str:
    """A metric, with its unit for distances."""
    unit = METRICS[name].unit if name in METRICS else ""
    return f"{name} ({unit})" if unit == "mm" else name


def number_text(value: float) -> str:
    """Three decimals, or `undefined`."""
    return "undefined" if math.isnan(value) else f"{value:.3f}"


def limits_text(low: float, high: float) -> str:
    """An interval; empty if undefined."""
    return "" if math.isnan(low) or math.isnan(high) else f"{low:.3f} to {high:.3f}"


def p_text(value: float) -> str:
    """A p value; `-` if undefined."""
    return "-" if math.isnan(value) else "<0.001" if value < 0.001 else f"{value:.3f}"


def span_text(numbers: tuple[int, int] | None) -> str:
    """The smallest and the largest number, or the only one; empty for none."""
    return "" if numbers is None else " to ".join(dict.fromkeys(map(str, numbers)))


def evaluation_rows(found: Evaluation) -> Rows:
    """Each number with its interval and number of cases, without empty columns."""
    rows: list[tuple[object, ...]] = [
        (metric_text(each.metric), each.label, number_text(each.value), limits_text(each.low, each.high), each.n,
         span_text(found.positives(each)), each.reason)
        for each in found.results
    ]  # fmt: skip
    columns = (
        "metric", "class", "value", f"{100 * found.confidence:g} % interval", "n",
        "with the class" if found.kind in ("segmentation", "boxes") else "positive", "why undefined",
    )  # fmt: skip
    keep = [0, *(column for column in range(1, len(columns)) if any(row[column] != "" for row in rows))]
    return tuple(columns[column] for column in keep), [tuple(row[column] for column in keep) for row in rows]


def comparison_rows(found: Comparison) -> Rows:
    """Each metric of both models, their difference and its tests."""
    one = found.evaluations[0]
    rows: list[tuple[object, ...]] = [
        (metric_text(each.metric), each.label, alone.n, span_text(one.positives(alone)), number_text(each.first),
         number_text(each.second), number_text(each.difference.value),
         f"{number_text(each.difference.low)} to {number_text(each.difference.high)}", p_text(each.difference.p),
         p_text(each.adjusted), p_text(each.delong_p), each.reason)
        for each in found.compared
        for alone in [one.result(each.metric, each.label)]
    ]  # fmt: skip
    columns = ("metric", "class", "n", "positive", "A", "B", "difference", "interval", "p", "p (Holm)", "p (DeLong)",
               "why undefined")  # fmt: skip
    return columns, rows


def readers_rows(found: AgainstReaders) -> Rows:
    """The model, each reader, their mean, and the difference of the model and the mean."""
    names = found.names or ("model", *(f"reader {number}" for number in range(1, len(found.readers) + 1)))
    rows: list[tuple[object, ...]] = [
        (name, number_text(each.value), limits_text(each.low, each.high), f"{each.defined} of {each.comparisons}",
         span_text(each.cases), span_text(each.positives), each.reason)
        for name, each in zip(
            [*names, "mean of readers"], [found.model, *found.readers, found.mean], strict=True
        )
    ]  # fmt: skip
    apart = found.difference
    rows.append((f"{names[0]} minus mean", number_text(apart.value), limits_text(apart.low, apart.high), "", "", "",
                 apart.reason))  # fmt: skip
    return ("who", found.metric, "95 % interval", "comparisons", "cases", "positive", "why undefined"), rows


def html_of(caption: str, table: Rows, notes: Iterable[str] = ()) -> str:
    """A table as HTML, as a notebook shows a result."""

    def row(cells: Sequence[object], tag: str) -> str:
        return f"<tr>{''.join(f'<{tag}>{escape(str(cell))}</{tag}>' for cell in cells)}</tr>"

    columns, rows = table
    body = "".join(row(cells, "td") for cells in rows)
    said = "".join(f"<p>{escape(note)}</p>" for note in notes)
    return (
        f"<table><caption>{escape(caption)}</caption><thead>{row(columns, 'th')}</thead><tbody>{body}</tbody></table>"
        f"{said}"
    )
