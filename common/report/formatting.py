"""Numbers, names and sentences in reports: digits, units, plurals, and paths without private folders."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from graftwork.common.evaluation.metrics.registry import EXCLUSIVE, METRICS
from graftwork.common.wording import plural

NOT_AVAILABLE = "n/a"
_LONGEST = 80  # characters of a name in text or a table; the recipe has the whole name


class MetricName(NamedTuple):
    """A short name of a metric, its definition, and its unit or range."""

    title: str
    meaning: str
    unit: str


def metric_name(metric: str, *, exclusive: bool = False) -> MetricName:
    """The title of a metric; an unknown one keeps its name, with spaces for underscores.

    Args:
        exclusive: for several exclusive classes, where a definition may differ.
    """
    known = METRICS.get(metric)
    if known is None:
        return MetricName(metric.replace("_", " ").replace("-", " "), "", "")
    title = known.short or known.title[:1].upper() + known.title[1:]
    meaning = known.exclusive if exclusive and known.exclusive else known.definition
    unit = known.exclusive_unit if exclusive and known.exclusive_unit else known.unit
    return MetricName(title, meaning, unit)


def number(value: float | None) -> str:
    """A count with thousands separators: 5856 is `5,856`; a missing one is `n/a`."""
    if value is None or not math.isfinite(value):
        return NOT_AVAILABLE
    text = f"{value:,.0f}" if float(value).is_integer() else f"{value:,.2f}"
    return text.replace("-", "−")


def score(value: float | None, digits: int = 3) -> str:
    """A value with a fixed number of decimals, so that a column of them lines up; NaN is `n/a`."""
    if value is None or not math.isfinite(value):
        return NOT_AVAILABLE
    text = f"{value:.{digits}f}"
    if float(text) == 0:
        text = text.lstrip("-")
    return text.replace("-", "−")


def interval(low: float | None, high: float | None, digits: int = 3) -> str:
    """`0.951 to 0.972`, or an empty text where either end is missing."""
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        return ""
    return f"{score(low, digits)} to {score(high, digits)}"


def percent(part: float, whole: float, digits: int = 1) -> str:
    """A share in per cent, `12.5 %` with a no-break space; `n/a` for an empty whole."""
    if not whole or not math.isfinite(part / whole):
        return NOT_AVAILABLE
    return f"{100 * part / whole:.{digits}f}\u00a0%"


def count(n: float, word: str) -> str:
    """A number of things: `1 patient`, `2,431 patients`."""
    return f"{number(n)} {word if n == 1 else plural(word)}"


def duration(seconds: float | None) -> str:
    """A time span in two units: `0.8 s`, `45 s`, `3 min 12 s`, `2 h 05 min`, `3 d 4 h`."""
    if seconds is None or not math.isfinite(seconds) or seconds < 0:
        return NOT_AVAILABLE
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(seconds / 60)
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    return f"{minutes // 1440} d {minutes % 1440 // 60} h"


_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def rate(value: float | None) -> str:
    """A learning rate with two digits: `0.003`, `2.5 × 10⁻⁵`, `0`."""
    if value is None or not math.isfinite(value):
        return NOT_AVAILABLE
    if value == 0:
        return "0"
    if 1e-3 <= abs(value) < 1e3:
        return f"{value:.2g}"
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa.removesuffix('.0')} × 10{str(int(exponent)).translate(_SUPERSCRIPT)}"


def listing(words: Iterable[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    items = list(words)
    return items[0] if len(items) == 1 else ", ".join(items[:-1]) + (f" and {items[-1]}" if items else "")


def sentence(text: str) -> str:
    """A note as a sentence: a capital at its beginning, a full stop at its end."""
    line = " ".join(text.split())
    first = line.partition(" ")[0]
    if first.isalpha() and first.islower():
        line = line[:1].upper() + line[1:]
    return line if line.endswith((".", "!", "?")) or not line else f"{line}."


def shortened(text: str, length: int = _LONGEST) -> str:
    """A name on one line, its middle left out where it is longer than `length` characters."""
    line = " ".join(str(text).split())
    if len(line) <= length:
        return line
    head = (length - 1) * 2 // 3
    return f"{line[:head]}…{line[-(length - 1 - head) :]}"


class Scrubber:
    """Removes private folders from texts: an absolute path is cut to its last part.

    Args:
        known: private paths, which may contain spaces, and their replacements (`{"/home/a b/xray": "DIR"}`).
    """

    # an absolute path of two parts or more; `n/a`, `image/s` and https://... do not match
    _PATH = re.compile(r"""(?<![\w.:/\\])(?:~|[A-Za-z]:)?[/\\]((?:[^\s/\\"'<>|]+[/\\])+)([^\s/\\"'<>|]*)""")
    _HOMES = ("home", "Users", "mnt/c/Users")

    def __init__(self, known: Mapping[str, str] | None = None) -> None:
        given = {path.rstrip("/\\"): instead for path, instead in (known or {}).items()}
        absolute = {
            path: instead for path, instead in given.items() if re.match(r"([A-Za-z]:|~)?[/\\].", path)
        }
        # the longest first: a folder must not be replaced inside the path of a file below it
        self._replaced = sorted(absolute.items(), key=lambda pair: (-len(pair[0]), pair[0]))

    def __call__(self, text: str) -> str:
        """`text` with every private path replaced and every other absolute path shortened to `…/name`."""
        for path, instead in self._replaced:
            text = text.replace(path, instead)
        return self._PATH.sub(self._last, text)

    def _last(self, path: re.Match[str]) -> str:
        above = path[1].rstrip("/\\").replace("\\", "/")
        return "~" if above in self._HOMES else f"…/{path[2]}"


def title_of(metric: str, kind: str, name: str = "") -> str:
    """The title of a metric for a kind of target, with its unit where it is not from 0 to 1.

    `name`: its name in the protocol, where that is different.
    """
    about = metric_name(metric, exclusive=kind in EXCLUSIVE)
    name = name or about.title
    title = name[:1].upper() + name[1:]
    return title if about.unit in ("", "0 to 1") else f"{title} ({about.unit})"


def direction(metric: str) -> str:
    """`; lower is better`, or an empty text where higher is."""
    better = METRICS[metric].better if metric in METRICS else "higher"
    return "" if better == "higher" else f"; {better} is better"
