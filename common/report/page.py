"""The page itself: templates filled in, a policy that lets it load nothing, and one file that is whole or not there."""

from __future__ import annotations

import base64
import hashlib
import logging
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from graftwork.common.errors import UsageError
from graftwork.common.files import write_text
from graftwork.common.report.comparison import ComparisonPage
from graftwork.common.report.facts import facts_of
from graftwork.common.report.page_text import template_text
from graftwork.common.report.run_page import RunPage

if TYPE_CHECKING:
    from graftwork.common.runs import Run

__all__ = ["LIMIT", "render", "report"]

LIMIT = 3_000_000  # bytes of a page
log = logging.getLogger("graftwork")


def report(runs: Sequence[Run], out: Path | None = None) -> Path:
    """Write the report of one run, or a page that compares several.

    Args:
        runs: with predictions and metrics.
        out: the file, or a folder to write `report.html` (several runs: `comparison.html`) into. None: into the
            folder of the run; of several, beside the first one's folder.

    Returns:
        The file. It loads nothing, runs no script, and is the same to the byte for the same runs.

    Raises:
        UsageError: no run. RunError: a run is not finished or damaged, or the file cannot be written.
    """
    if not runs:
        raise UsageError("no run was named", where="report", remedy="name the folder of at least one run")
    name = "report.html" if len(runs) == 1 else "comparison.html"
    place = (runs[0].folder if len(runs) == 1 else runs[0].folder.parent) if out is None else Path(out)
    file = place if out is not None and place.suffix.lower() in (".html", ".htm") else place / name
    text = render(runs)
    if len(text.encode()) > LIMIT:
        log.warning("%s is %.1f MB, above %.0f MB", file, len(text.encode()) / 1e6, LIMIT / 1e6)
    write_text(file, text)
    return file


def render(runs: Sequence[Run]) -> str:
    """The page as text: of one run, or comparing several."""
    from graftwork import __version__

    facts = [facts_of(run) for run in runs]
    page: RunPage | ComparisonPage = RunPage(facts[0]) if len(facts) == 1 else ComparisonPage(facts)
    style = template_text("page.css")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    template = _environment().get_template("run.html.j2" if len(facts) == 1 else "comparison.html.j2")
    values: dict[str, Any] = {
        "page": page,
        "policy": Markup(policy),
        "style": Markup(style),
        "version": __version__,
    }
    return template.render(values)


@lru_cache(maxsize=1)
def _environment() -> Environment:
    return Environment(
        loader=FunctionLoader(template_text),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
