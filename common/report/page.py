"""The page itself: templates filled in, a policy that lets it load nothing, and one file that is whole or not there."""

from __future__ import annotations

import base64
import hashlib
import logging
from collections.abc import Sequence
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from graftwork.common.errors import UsageError
from graftwork.common.files import write_text
from graftwork.common.report.comparison.runs_page import ComparisonPage
from graftwork.common.report.external.masks_page import MasksPage
from graftwork.common.report.external.predictions_page import SubmittedPage
from graftwork.common.report.external.two_models_page import ComparedPage
from graftwork.common.report.run.run_facts import facts_of
from graftwork.common.report.run.run_page import RunPage

if TYPE_CHECKING:
    import pandas as pd

    from graftwork.common.evaluation import Evaluation, Protocol
    from graftwork.common.evaluation.compare_models import Comparison
    from graftwork.common.evaluation.subgroup_metrics import Subgroups
    from graftwork.common.evaluation.tables.external_tables import Submission
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
    facts = [facts_of(run) for run in runs]
    if len(facts) == 1:
        return _filled("run.html.j2", RunPage(facts[0]))
    return _filled("comparison.html.j2", ComparisonPage(facts))


def evaluation_report(
    submission: Submission,
    protocol: Protocol,
    evaluation: Evaluation,
    subgroups: Sequence[Subgroups],
    out: Path,
) -> Path:
    """Write the page of a table of predictions that somebody brought.

    Args:
        submission: the table. protocol, evaluation, subgroups: by which it was judged, and what it came to.
        out: the file.

    Raises:
        RunError: the file cannot be written.
    """
    write_text(out, _filled("evaluation.html.j2", SubmittedPage(submission, protocol, evaluation, subgroups)))
    return out


def compared_report(comparison: Comparison, protocol: Protocol, names: tuple[str, str], out: Path) -> Path:
    """Write the page of two models on the same cases.

    Args:
        comparison: what `compare` found, by `protocol`.
        names: of the two files; their folders are shown only where it takes them to tell the two apart.
        out: the file.

    Raises:
        RunError: the file cannot be written.
    """
    write_text(out, _filled("compared.html.j2", ComparedPage(comparison, protocol, names)))
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
        evaluation, table: as `evaluate_folders` gives them, by `protocol`. Where the table has the columns
            `truth_voxels` and `predicted_voxels`, empty masks are counted.
        out: the file. folders: of the truth and of the predictions; only their last part is shown.

    Raises:
        RunError: the file cannot be written.
    """
    write_text(out, _filled("masks.html.j2", MasksPage(evaluation, table, protocol, folders)))
    return out


def _filled(template: str, page: RunPage | ComparisonPage | SubmittedPage | ComparedPage | MasksPage) -> str:
    from graftwork import __version__

    style = template_text("page.css")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    values: dict[str, Any] = {
        "page": page,
        "policy": Markup(policy),
        "style": Markup(style),
        "version": __version__,
    }
    return _environment().get_template(template).render(values)


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
