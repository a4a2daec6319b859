"""`MODEL_CARD.md`: front matter for the Hugging Face hub, text from the run, and marked blanks for the rest."""

from __future__ import annotations

import json
import math
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FunctionLoader, StrictUndefined

from graftwork.common.report.commands import repeat_of
from graftwork.common.report.formatting import metric_name, shortened
from graftwork.common.report.page import template_text
from graftwork.common.report.run import data_section, limits_section, provenance_section, run_page
from graftwork.common.report.run.further_section import further_of
from graftwork.common.report.run.metrics_section import metrics_table
from graftwork.common.report.run.provenance_section import VOLUME_NETWORK
from graftwork.common.report.run.run_facts import facts_of, limits_of
from graftwork.common.report.run.training_section import training_words

if TYPE_CHECKING:
    from graftwork.common.evaluation import Result
    from graftwork.common.runs.run_folder import Run


BLANK = "[TO BE FILLED IN: "
_HUB_METRICS = {"auroc": "roc_auc", "average_precision": "average_precision", "sensitivity": "recall",
                "accuracy": "accuracy", "balanced_accuracy": "balanced_accuracy", "brier": "brier_score"}  # fmt: skip


class Written(str):
    """Text that is already Markdown or YAML, and is not escaped again."""

    __slots__ = ()


def model_card(run: Run) -> str:
    """The model card of a run, as Markdown with YAML front matter.

    It contains the facts of the run. What only its authors know is a blank, `[TO BE FILLED IN: ...]`. It contains no
    path and no name of a person.

    Raises:
        RunError: something in the run's folder is missing or damaged.
    """
    from graftwork import __version__

    facts = facts_of(run)
    results = facts.evaluation.results
    task = "image-segmentation" if facts.segments else "image-classification"
    tags = [
        task,
        "transfer-learning",
        "graftwork",
        *(["monai"] if facts.segments else []),
        *(["timm"] if facts.recipe.backbone.name != VOLUME_NETWORK else []),
        facts.manifest.dataset.partition("/")[0],
        facts.recipe.strategy.name,
        str(facts.network.get("backbone") or facts.recipe.backbone.name),
    ]
    values: dict[str, Any] = {
        "facts": facts,
        "warnings": run_page.warnings_of(facts),
        "result": run_page.primary_result(facts),
        "settings": provenance_section.recipe_table(facts),
        "shared": data_section.shared_sentence(facts),
        "parts": data_section.parts_table(facts),
        "absent": data_section.absent_classes(facts),
        "training": training_words(facts),
        "too_few": limits_section.too_few(facts),
        "metrics_table": metrics_table(facts),
        "further": further_of(facts),
        "limits": [
            *limits_section.limits_of_run(facts),
            *limits_section.limits_of_data(facts),
            *(line for _, lines in limits_of(facts.card) for line in lines),
        ],
        "licences": provenance_section.licences_table(facts),
        "repeat": repeat_of(facts),
        "environment": provenance_section.environment_table(facts),
        "version": __version__,
        "task": task,
        "name": f"{facts.name.rpartition('/')[2]}-{facts.recipe.seed}",
        "dataset_title": f"SYNTHETIC data in the layout of: {facts.dataset_title}"
        if facts.synthetic
        else facts.dataset_title,
        "dataset_name": "synthetic" if facts.synthetic else facts.manifest.dataset,
        "metrics": [_as_metric(result, facts.synthetic) for result in results if math.isfinite(result.value)],
        "hub_metrics": list(dict.fromkeys(_hub_name(result) for result in results)),
        "tags": list(dict.fromkeys(tags)),
    }
    text = _environment().get_template("MODEL_CARD.md.j2").render(values)
    return re.sub(r"\n{3,}", "\n\n", text)


def _hub_name(result: Result) -> str:
    return _HUB_METRICS.get(result.metric, result.metric)


def _as_metric(result: Result, synthetic: bool) -> dict[str, str]:
    interval = f"[{result.low:.6g}, {result.high:.6g}]" if math.isfinite(result.low) else "null"
    return {
        "type": _hub_name(result),
        "name": ("on SYNTHETIC data: " if synthetic else "")
        + metric_name(result.metric).title
        + (f", {result.label}" if result.label else ""),
        "value": Written(f"{result.value:.6g}"),
        "interval": Written(interval),
    }


@lru_cache(maxsize=1)
def _environment() -> Environment:
    made = Environment(
        loader=FunctionLoader(template_text),
        autoescape=False,  # not HTML: `finalize` escapes for Markdown what no filter has written
        undefined=StrictUndefined,
        finalize=_escaped,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters["yaml"] = _yaml
    made.filters["cell"] = _cell
    made.filters["written"] = Written
    made.filters["literal"] = lambda text: Written(re.sub(r"[`\n]", "", str(text)))
    made.filters["fenced"] = lambda text: Written(str(text).replace("```", ""))
    made.filters["blank"] = lambda text: Written(f"{BLANK}{text}]")
    return made


def _escaped(value: Any) -> Any:
    return value if isinstance(value, Written) else Written(_markdown(str(value)))


def _markdown(text: str) -> str:
    """Text as Markdown: marks and HTML are escaped, line ends become spaces."""
    line = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|#~$])", r"\\\1", line)


def _cell(text: object) -> Written:
    return Written(_markdown(shortened(str(text), 300)) or " ")


def _yaml(text: object) -> Written:
    """Any text as a YAML scalar in double quotes."""
    quoted = json.dumps(" ".join(str(text).split()), ensure_ascii=False)
    # characters that YAML takes for line ends or refuses
    return Written(
        re.sub(
            r"[\x7f-\x9f\u2028\u2029\ufeff\ud800-\udfff\ufffe\uffff]", lambda c: f"\\u{ord(c[0]):04x}", quoted
        )
    )
