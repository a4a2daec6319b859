"""Write the pages of reports: the template filled in, as one file that loads nothing."""

from __future__ import annotations

import base64
import hashlib
import logging
from collections.abc import Sequence
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from graftwork.common.errors import UsageError
from graftwork.common.files import write_text
from graftwork.common.report.comparison.comparison_page import comparison_page
from graftwork.common.report.external.masks_page import masks_page
from graftwork.common.report.external.predictions_page import predictions_page
from graftwork.common.report.external.two_models_page import two_models_page
from graftwork.common.report.run.run_facts import facts_of
from graftwork.common.report.run.run_page import run_page

if TYPE_CHECKING:
    import pandas as pd

    from graftwork.common.evaluation import Evaluation, Protocol
    from graftwork.common.evaluation.compare_models import Comparison
    from graftwork.common.evaluation.subgroup_metrics import Subgroups
    from graftwork.common.evaluation.tables.external_tables import Submission
    from graftwork.common.report.section import Page
    from graftwork.common.runs.run_folder import Run


LIMIT = 3_000_000  # bytes of a page
log = logging.getLogger("graftwork")


def report(runs: Sequence[Run], out: Path | None = None) -> Path:
    """Write the report of one run, or a page that compares several.

    Args:
        runs: with predictions and metrics.
        out: the file, or a folder to write `report.html` (several runs: `comparison.html`) into. None: into the
            folder of the run; of several, beside the first one's folder.

    Returns:
        The file. It loads nothing, runs no script, and is the same to the byte for the same runs and data.

    Raises:
        UsageError: no run. RunError: a run is not finished or damaged, or the file cannot be written.
    """
    if not runs:
        raise UsageError("no run is named", where="report", remedy="name the folder of at least one run")
    name = "report.html" if len(runs) == 1 else "comparison.html"
    place = (runs[0].folder if len(runs) == 1 else runs[0].folder.parent) if out is None else Path(out)
    file = place if out is not None and place.suffix.lower() in (".html", ".htm") else place / name
    text = render(runs)
    if len(text.encode()) > LIMIT:
        log.warning("%s: %.1f MB, larger than %.0f MB", file, len(text.encode()) / 1e6, LIMIT / 1e6)
    write_text(file, text)
    return file


def render(runs: Sequence[Run]) -> str:
    """The page as text: of one run, or comparing several."""
    facts = [facts_of(run) for run in runs]
    return filled(run_page(facts[0]) if len(facts) == 1 else comparison_page(facts))


def evaluation_report(
    submission: Submission,
    protocol: Protocol,
    evaluation: Evaluation,
    subgroups: Sequence[Subgroups],
    out: Path,
) -> Path:
    """Write the page of a table of predictions.

    Args:
        submission: the table. protocol, evaluation, subgroups: how it was evaluated, and the results.
        out: the file.

    Raises:
        RunError: the file cannot be written.
    """
    write_text(out, filled(predictions_page(submission, protocol, evaluation, subgroups)))
    return out


def compared_report(comparison: Comparison, protocol: Protocol, names: tuple[str, str], out: Path) -> Path:
    """Write the page of two models on the same cases.

    Args:
        comparison: the results of `compare`, by `protocol`.
        names: of the two files; their folders are shown only where the file names are the same.
        out: the file.

    Raises:
        RunError: the file cannot be written.
    """
    write_text(out, filled(two_models_page(comparison, protocol, names)))
    return out


def masks_report(
    evaluation: Evaluation,
    table: pd.DataFrame,
    protocol: Protocol,
    out: Path,
    *,
    folders: tuple[str, str] = ("", ""),
) -> Path:
    """Write the page of two folders of masks.

    Args:
        evaluation, table: from `evaluate_folders`, by `protocol`. Where the table has the columns `truth_voxels` and
            `predicted_voxels`, empty masks are counted.
        out: the file. folders: of the truth and of the predictions; only their last part is shown.

    Raises:
        RunError: the file cannot be written.
    """
    write_text(out, filled(masks_page(evaluation, table, protocol, folders)))
    return out


def filled(page: Page) -> str:
    """A page as HTML text."""
    from graftwork import __version__

    style = template_text("page.css")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            page=page,
            opening=bool(page.result or page.examples or page.notes),
            policy=Markup(policy),
            style=Markup(style),
            version=__version__,
        )
    )


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


def template_text(name: str) -> str:
    """The text of a template or style sheet."""
    return (files("graftwork.common.report") / "templates" / name).read_text("utf-8")
