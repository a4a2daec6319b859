"""Evaluate, compare and report external predictions by a protocol, without a run, a network or images."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Unpack

from graftwork.common.data.synthetic import marked, rests_on_synthetic
from graftwork.common.errors import TableError, UsageError
from graftwork.common.external.table_inputs import read_tables
from graftwork.common.files import check_target
from graftwork.common.report.commands import command_of, listed

if TYPE_CHECKING:
    from graftwork.common.evaluation.compare_models import Comparison
    from graftwork.common.evaluation.recalibration import Recalibration
    from graftwork.common.evaluation.results import Evaluation
    from graftwork.common.evaluation.shortcuts import Shortcut
    from graftwork.common.evaluation.subgroup_metrics import Subgroups
    from graftwork.common.evaluation.tables.external_tables import Submission
    from graftwork.common.evaluation.tables.reading_options import ReadingOptions
    from graftwork.common.external.feature_probe import FeatureProbe


StrPath = str | os.PathLike[str]


@dataclass(frozen=True)
class FileEvaluation:
    """The evaluation of a file of predictions.

    Attributes:
        evaluation: the numbers. subgroups: of each covariate that was asked for.
        report: the page that was written; None where none was asked for.
        shortcuts: whether scores identify the covariates; what is suspected is in the evaluation's notes too.
        probes: whether features do, where there were any.
        findings: what somebody must look at, such as groups that look alike, other than what was allowed.
    """

    evaluation: Evaluation
    subgroups: tuple[Subgroups, ...] = ()
    report: Path | None = None
    shortcuts: tuple[Shortcut, ...] = ()
    probes: tuple[FeatureProbe, ...] = ()
    findings: tuple[str, ...] = ()

    def _repr_html_(self) -> str:
        return self.evaluation._repr_html_()

    def to_json(self) -> dict[str, Any]:
        """As JSON values; NaN becomes null, beside which the reason stands."""
        from graftwork.common.evaluation.results import plain

        return {
            **self.evaluation.to_json(),
            "subgroups": [plain(each) for each in self.subgroups],
            "shortcuts": [plain(each) for each in self.shortcuts],
            "probes": [plain(each) for each in self.probes],
            "findings": list(self.findings),
        }


def evaluate_file(
    predictions: StrPath,
    protocol: str,
    *,
    truth: StrPath | None = None,
    group: str = "",
    by: str | Sequence[str] = (),
    part: str = "test",
    threshold: float | None = None,
    only_predicted: bool = False,
    uncertain: str = "",
    blank: str = "",
    calibration: StrPath | None = None,
    bootstrap: int = 2000,
    seed: int = 0,
    also: str | Sequence[str] = (),
    aim: float = 0.95,
    features: StrPath | None = None,
    report: StrPath | None = None,
    **reading: Unpack[ReadingOptions],
) -> FileEvaluation:
    """Evaluate a table of external predictions with a protocol.

    Args:
        predictions: a text file, XLSX, Parquet, or a format of a domain (such as the JSON of MegaDetector).
        protocol: the name of a protocol, with or without its domain.
        truth: a second table with the labels, or the folder of a dataset with this protocol.
        group: the column of the group, such as the patient.
        by: covariates, in one of the tables, whose subgroups are evaluated too.
        part: the subset to evaluate, if the table has a column of subsets; otherwise all cases are evaluated.
        threshold: a fixed threshold. None: chosen on the subset `validation` if there is one.
        only_predicted: evaluate only the predicted cases if `truth` has more.
        uncertain, blank: how to treat labels of -1 and empty labels: "ignore", "zero" or "one", or "CLASS=POLICY,...".
        calibration: a file written by `calibrate`; its calibration and thresholds are used.
        bootstrap, seed: number and seed of the bootstrap replicates.
        also: metrics in addition to those of the protocol; `METRICS` lists them.
        aim: the sensitivity or specificity that the threshold must reach, if the rule of the protocol has one.
        features: a table with features per case; tests whether they predict the covariates in `by`.
        report: an .html file for the report.
        reading: how to read the tables: case, score, truth_column, part_column, model, model_column, positive, ranks,
            ignore_labels, nothing, allow. They are the options of `graftwork evaluate`.

    Raises:
        TableError: the tables are invalid; lists all errors.
        UsageError: a protocol, metric or column is unknown.
    """
    given = {**locals()}
    from graftwork.common.data import domain
    from graftwork.common.evaluation.evaluate_table import evaluate
    from graftwork.common.evaluation.ranks import of_order, refuse_values
    from graftwork.common.evaluation.recalibration import read_recalibration
    from graftwork.common.evaluation.shortcuts import source_probe, warnings_of
    from graftwork.common.evaluation.subgroup_metrics import subgroups
    from graftwork.common.evaluation.tables.columns.part_columns import part_name

    command = command_of("evaluate", evaluate_file, given, ["predictions"])
    by, also = listed(by), listed(also)
    file = page_file(report)
    if features is not None and not by:
        raise UsageError(
            "features are asked about covariates; name some", where="features", remedy="add --by"
        )
    part = part_name(part)
    convention = domain.protocol(protocol).with_metrics(also)
    if ranks := bool(reading.get("ranks")):
        refuse_values(convention, threshold=threshold, calibration=calibration, report=report)
    found = read_tables(
        predictions, convention, truth, group, only_predicted, uncertain, blank, part, by, reading
    )
    chosen: Any = threshold
    said = list(found.notes)
    if also:
        said.append(f"Beside the metrics of the protocol, as was asked: {', '.join(dict.fromkeys(also))}.")
    if calibration is not None:
        local = read_recalibration(calibration)
        found = replace(found, table=local.apply(found.table, found.target, convention, part=part))
        chosen = local.thresholds if threshold is None and local.thresholds else threshold
        which = "thresholds chosen" if chosen is not threshold else "none of their thresholds used"
        said.append(
            f"Scores were scaled ({local.method}) and {which} on {local.n:,} cases of {local.groups:,} other groups"
            f"{f', the part {local.part}' if local.part else ''}."
        )
        said += found.table.attrs["calibration"]
        command = "\n".join(filter(None, (local.command, command)))
    evaluation = evaluate(
        found.table, found.target, convention, part=part, threshold=chosen, target_value=aim,
        bootstrap=bootstrap, seed=seed,
    )  # fmt: skip
    evaluation = replace(evaluation, notes=(*said, *evaluation.notes))
    if ranks:
        evaluation = of_order(evaluation)
    several = subgroups(found.table, found.target, convention, evaluation, by) if by else ()
    probed = source_probe(found.table, found.target, convention, evaluation, by) if by else ()
    probes: tuple[FeatureProbe, ...] = ()
    if features is not None:
        from graftwork.common.external.feature_probe import probe_features

        probes = probe_features(found.table, found.target, convention, evaluation, by, features)
    told = [*warnings_of(probed), *(each.describe() for each in probes)]
    evaluation = replace(evaluation, notes=(*evaluation.notes, *told), command=command)
    evaluation = marked(evaluation, predictions, truth)
    page = None
    if file is not None:
        from graftwork.common.report import evaluation_report

        page = evaluation_report(found, convention, evaluation, several, file)
    return FileEvaluation(evaluation, several, page, probed, probes, found.findings)


def page_file(report: StrPath | None) -> Path | None:
    """Where a report is to be written, looked at before anything is computed.

    Raises:
        UsageError: it is no .html file. RunError: a folder, pipe, socket or device is there.
    """
    if report is None:
        return None
    if Path(report).suffix.lower() not in (".html", ".htm"):
        raise UsageError(
            "the report is a page, an .html file", where=str(report), remedy="end its name in .html"
        )
    check_target(Path(report))
    return Path(report)


def calibrate(
    predictions: StrPath,
    protocol: str,
    out: StrPath,
    *,
    truth: StrPath | None = None,
    group: str = "",
    method: Literal["temperature", "isotonic"] = "temperature",
    rule: str | None = None,
    aim: float = 0.95,
    part: str = "",
    only_predicted: bool = False,
    uncertain: str = "",
    blank: str = "",
    **reading: Unpack[ReadingOptions],
) -> Recalibration:
    """Fit a calibration and thresholds on a few labelled cases, for `evaluate --calibration`.

    The scores of a model from another site may rank cases well and still not be correct probabilities at your site. If
    the table has a column of subsets, the validation subset is used. `evaluate` refuses the cases and groups that were
    used here: the file contains fingerprints of them.

    Args:
        predictions, truth, group, only_predicted, uncertain, blank, reading: see `evaluate_file`.
        protocol: the name of a protocol.
        out: the .json file to write.
        method: "temperature" or "isotonic".
        rule, aim: how thresholds are chosen. None: the rule of the protocol.
        part: the subset to fit on, if the table has a column of subsets. "": validation; for a table written by
            `predict`, the images that the run did not use for training or validation.

    Raises:
        TableError, UsageError: see `evaluate_file`; a class has no case.
    """
    command = command_of("calibrate", calibrate, locals(), ["predictions"])
    from graftwork.common.data import domain
    from graftwork.common.evaluation.recalibration import recalibrate

    convention = domain.protocol(protocol)
    if reading.get("ranks"):
        raise UsageError("ranks cannot be scaled to probabilities", where="--ranks", remedy="leave it out")
    found = read_tables(
        predictions,
        convention,
        truth,
        group,
        only_predicted,
        uncertain,
        blank,
        part or "validation",
        (),
        reading,
    )
    if found.findings:
        raise TableError(
            " ".join(found.findings),
            where=str(predictions),
            remedy="correct the names, or allow them with --allow look-alikes",
        )
    local = recalibrate(
        found.table, found.target, convention, method=method, rule=rule, target_value=aim,
        part=_part_to_fit(found, part), grouping=group,
    )  # fmt: skip
    local = replace(local, command=command, synthetic=rests_on_synthetic(predictions, truth))
    local.write(out)
    return local


def _part_to_fit(found: Submission, part: str) -> str | None:
    """The part that a calibration is fitted on: the one that was named, else validation; where the run that predicted
    is all that says the part, test (the images that it has not seen)."""
    from graftwork.common.evaluation.tables.prediction_arrays import text_of

    where = str(found.table.attrs.get("source", "predictions"))
    if not found.table.attrs.get("parts"):
        if part:
            raise UsageError(
                f"a part {part!r} was named, and the table has no column of parts",
                where=where,
                remedy="leave --part out: every case is used",
            )
        return None
    there = Counter(map(str, text_of(found.table["part"])))
    wanted = part or ("test" if found.table.attrs.get("parts_by_run") else "validation")
    if wanted not in there:
        listed = ", ".join(f"{name} ({n:,})" for name, n in there.items())
        raise UsageError(
            f"found the parts {listed}, expected {wanted} to fit the calibration on",
            where=where,
            remedy="name a part with --part; its cases cannot be evaluated with the calibration afterwards",
        )
    return wanted


def compare(
    first: StrPath,
    second: StrPath,
    protocol: str,
    *,
    truth: StrPath | None = None,
    group: str = "",
    part: str = "test",
    threshold: float | None = None,
    only_predicted: bool = False,
    uncertain: str = "",
    blank: str = "",
    also: str | Sequence[str] = (),
    bootstrap: int = 2000,
    seed: int = 0,
    report: StrPath | None = None,
    **reading: Unpack[ReadingOptions],
) -> Comparison:
    """Compare the predictions of two models on the same cases.

    Each metric has its difference, the interval of the difference (resampling the same groups for both models), its p
    value, and Holm's correction over the classes. Tables with different cases are refused.

    Args:
        first, second: prediction tables, as for `evaluate`.
        protocol: the name of a protocol.
        truth, group, part, threshold, only_predicted, uncertain, blank, also, bootstrap, seed: see `evaluate_file`.
        report: an .html file for the report.
        reading: see `evaluate_file`. `model` names one model for both tables, or one for each, separated by a comma.

    Raises:
        TableError: the tables are invalid, or differ in cases, labels or groups; lists all errors.
        UsageError: a protocol, metric or column is unknown.
    """
    command = command_of("compare", compare, locals(), ["first", "second"])
    from graftwork.common.data import domain
    from graftwork.common.evaluation.compare_models import compare as pair
    from graftwork.common.evaluation.ranks import only_order, refuse_values
    from graftwork.common.evaluation.tables.columns.part_columns import part_name

    page = page_file(report)
    part = part_name(part)
    convention = domain.protocol(protocol).with_metrics(listed(also))
    if reading.get("ranks"):
        refuse_values(convention, threshold=threshold, report=report)
        convention = only_order(convention)
    models = str(reading.get("model", "")).partition(",")
    one, other = (
        read_tables(each, convention, truth, group, only_predicted, uncertain, blank, part, (),
                    {**reading, "model": model.strip()})
        for each, model in ((first, models[0]), (second, models[2] or models[0]))
    )  # fmt: skip
    if one.target.classes != other.target.classes:
        both = (", ".join(each.target.classes) for each in (one, other))
        raise TableError(
            "its classes are {1}, those of {2} are {0}".format(*both, first),
            where=str(second),
            remedy="give two tables with scores of the same classes",
        )
    found = pair(
        one.table, other.table, one.target, convention,
        part=part, threshold=threshold, bootstrap=bootstrap, seed=seed,
    )  # fmt: skip
    alone, beside = found.evaluations
    found = replace(
        found,
        evaluations=(
            marked(replace(alone, notes=(*one.notes, *alone.notes)), first, truth),
            marked(replace(beside, notes=(*other.notes, *beside.notes)), second, truth),
        ),
        findings=tuple(dict.fromkeys((*one.findings, *other.findings))),
        command=command,
    )
    if page is not None:
        from graftwork.common.report import compared_report

        compared_report(found, convention, (str(first), str(second)), page)
    return found
