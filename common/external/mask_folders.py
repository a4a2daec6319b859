"""Evaluate a folder of predicted masks against a folder of true masks, by case and region."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from graftwork.common.data import masks, volumes
from graftwork.common.errors import GraftworkError, TableError, UsageError
from graftwork.common.evaluation.arrays import BoolArray, FloatArray, ratio
from graftwork.common.evaluation.intervals.bootstrap import group_codes
from graftwork.common.evaluation.mask_rules import MaskRules
from graftwork.common.evaluation.mask_values import foreground, require_values
from graftwork.common.evaluation.metrics.mask_overlap import RegionMasks, region_value
from graftwork.common.evaluation.results import Cell, Evaluation, Resampling, evaluation_of, results_of
from graftwork.common.external.mask_pairs import pairs_of, refuse_faults
from graftwork.common.wording import short_list

if TYPE_CHECKING:
    import pandas as pd

    from graftwork.common.evaluation.protocols import Protocol


def evaluate_folders(
    truth: str | os.PathLike[str],
    predicted: str | os.PathLike[str],
    protocol: Protocol,
    *,
    groups: Mapping[str, str] | None = None,
    bootstrap: int = 2000,
    seed: int = 0,
    progress: Callable[[str, int, int], None] | None = None,
) -> tuple[Evaluation, pd.DataFrame]:
    """Evaluate a folder of predicted masks against one of true masks of the same names.

    Args:
        truth, predicted: folders, with masks in them or in subfolders; see `mask_pairs.pairs_of`. A case that is
            missing in one of them is an error, never left out.
        protocol: one with mask rules. groups: case to group (patient); None: each case is its own.
        bootstrap, seed: of the intervals. progress: called with what, how many of how many.

    Returns:
        the evaluation, and the table of all values: one row a case and region, with the voxels of both masks. What was
        ignored or assumed is in the notes of the evaluation.

    Raises:
        TableError: everything that is wrong with the folders at once: cases missing, files that cannot be read, shapes,
            spacings or affines that differ, labels that the protocol does not know.
        UsageError: the protocol has no rules of masks, or a folder is none.
    """
    rules = protocol.masks
    if rules is None:
        raise UsageError(
            "it is not for folders of masks",
            where=f"protocol {protocol.name!r}",
            remedy="`graftwork ls protocols` lists those that do",
        )
    found_pairs = pairs_of(Path(truth), Path(predicted))
    pairs = found_pairs.files
    faults = [fault for case, pair in pairs.items() for fault in _grid_faults(case, *pair)]
    refuse_faults(faults, predicted)
    sides = [_Side(str(folder), not rules.labels) for folder in (truth, predicted)]
    rows = []
    for number, (case, pair) in enumerate(pairs.items()):
        if progress is not None:
            progress("evaluating masks", number, len(pairs))
        try:
            read, spacing = _read(pair)
        except GraftworkError as error:
            faults.append(f"{case}: {error}")
            continue
        arrays = []
        for side, file, labels in zip(sides, pair, read, strict=True):
            try:
                arrays.append(side.add(file, labels, rules))
            except TableError as error:
                faults.append(str(error))
        if not faults:
            found = judge_masks(arrays[0], arrays[1], spacing, rules, protocol.metrics)
            for region, (true, called) in _inside(arrays[0], arrays[1], rules).items():
                voxels = {"truth_voxels": int(true.sum()), "predicted_voxels": int(called.sum())}
                rows.append({"case": case, "region": region, **found[region], **voxels})
    if progress is not None:
        progress("evaluating masks", len(pairs), len(pairs))
    faults += [fault for side in sides for fault in side.faults()]
    refuse_faults(faults, predicted)
    import pandas as pd

    table = pd.DataFrame(rows)
    notes = [*found_pairs.notes, *(note for side in sides for note in side.notes(rules))]
    return _evaluation(table, protocol, rules, groups, bootstrap, seed, notes), table


def _grid_faults(case: str, truth: Path, predicted: Path) -> Iterator[str]:
    try:
        found = masks.fit_faults(truth, predicted)
    except GraftworkError as error:
        yield f"{case}: {error}"
        return
    if found:
        yield (
            f"{case}: truth (image) and prediction (mask) differ: {'; '.join(found)}. Fix: save both on one grid "
            "(`graftwork regrid` moves a NIfTI mask), if they show the same place"
        )


@dataclass(eq=False)
class _Side:
    """What the masks of one of the two folders hold."""

    place: str
    binary: bool
    scales: dict[str, list[str]] = field(default_factory=dict)
    grey: int = 0
    remarks: dict[str, list[str]] = field(default_factory=dict)

    def add(self, file: Path, labels: masks.Labels, rules: MaskRules) -> Any:
        """The labels of a mask, or booleans where the protocol knows two values.

        Raises:
            TableError: the protocol does not know its values.
        """
        for remark in () if labels.geometry is None else labels.geometry.remarks:
            self.remarks.setdefault(remark, []).append(file.name)
        if self.binary:
            seen = foreground(labels.values, rules.above, graded=labels.graded, name=str(file))
            self.scales.setdefault(seen.scale, []).append(file.name)
            self.grey += seen.grey
            return seen.mask
        there = np.unique(labels.values).tolist()
        full = masks.other_scale(there, (0, *rules.labels))
        if full:
            self.scales.setdefault(f"0/{full}", []).append(file.name)
            return (labels.values != 0).astype(np.min_scalar_type(rules.labels[0])) * rules.labels[0]
        odd = [value for value in there if value not in (0, *rules.labels)]
        if odd:
            known = ", ".join(map(str, (0, *rules.labels)))
            raise TableError(
                f"it holds {short_list(odd)}; the protocol knows {known}",
                where=str(file),
                remedy="correct the mask, or name the protocol that knows these labels",
            )
        return labels.values

    def faults(self) -> Iterator[str]:
        """What only the set of masks shows: values with two meanings."""
        grey, faint, ones = (self.scales.get(name, []) for name in ("grey", "faint", "0/1"))
        if ones and (grey or faint):
            yield (
                f"{self.place}: {len(ones)} masks hold 0 and 1 ({short_list(ones)}) beside {len(grey) + len(faint)} of "
                f"grey levels ({short_list([*grey, *faint])}): 1 is the foreground, or nearly black. "
                "Fix: save all masks as 0 and 255"
            )
        elif faint and not grey:
            yield (
                f"{self.place}: {len(faint)} masks hold values between 0 and the threshold alone ({short_list(faint)}) "
                "and no mask has grey levels above it: what they mean is not known. Fix: save them as 0 and 255"
            )

    def notes(self, rules: MaskRules) -> Iterator[str]:
        """What was assumed, a sentence each."""
        for scale in ("0/1", "0/65535") if self.binary else tuple(self.scales):
            files = self.scales.get(scale, [])
            if files:
                value = scale.removeprefix("0/")
                yield f"{self.place}: {_masks(files)} 0 and {value}: {value} is read as the foreground."
        if self.grey:
            files = [*self.scales.get("grey", []), *self.scales.get("faint", [])]
            yield (
                f"{self.place}: {_masks(files)} levels of grey ({self.grey:,} pixels are neither 0 nor full): what "
                f"lies above {rules.above:g} of 255 is read as the foreground ({short_list(files)})."
            )
        for remark, files in self.remarks.items():
            count = "1 file" if len(files) == 1 else f"{len(files)} files"
            yield f"{self.place}: of {count}, {remark} ({short_list(files)})."


def _masks(files: list[str]) -> str:
    return "1 mask holds" if len(files) == 1 else f"{len(files)} masks hold"


def _read(pair: tuple[Path, Path]) -> tuple[list[masks.Labels], tuple[float, ...] | None]:
    read = [masks.read_labels(file) for file in pair]
    grid = read[0].geometry
    if grid is None:
        return read, None
    # in the order of the file of the truth: organisers' programs number lesions in it, whatever the affine says
    turned = [
        replace(each, values=np.ascontiguousarray(volumes.from_canonical(each.values, grid))) for each in read
    ]
    return turned, grid.spacing


def judge_masks(
    truth: Any, predicted: Any, spacing: tuple[float, ...] | None, rules: MaskRules, metrics: tuple[str, ...]
) -> dict[str, dict[str, float]]:
    """Every metric of every region of one case.

    Args:
        truth, predicted: labels, [X, Y, Z] or [H, W]; of a protocol without labels see `foreground`.
        spacing: mm along each axis; None: not known, so that distances are undefined.
        rules: regions and conventions. metrics: those of `METRICS` with a `region`.

    Returns:
        region to metric to value; NaN where undefined.

    Raises:
        TableError: a mask holds a value that the rules do not know.
    """
    inside = _inside(truth, predicted, rules)
    found: dict[str, dict[str, float]] = {}
    for region in rules.regions:
        masks = RegionMasks(*inside[region.name], spacing, rules, region, inside)
        found[region.name] = {name: region_value(name, masks) for name in metrics}
    return found


def _inside(truth: Any, predicted: Any, rules: MaskRules) -> dict[str, tuple[BoolArray, BoolArray]]:
    """Which voxels of truth and of prediction are of each region."""
    both = (("truth", truth), ("predicted", predicted))
    if not rules.labels:
        one, other = (foreground(values, rules.above, name=name).mask for name, values in both)
        return {region.name: (one, other) for region in rules.regions}
    for name, values in both:
        require_values(values, (0, *rules.labels), name)
    return {
        region.name: (np.isin(truth, region.labels), np.isin(predicted, region.labels))
        for region in rules.regions
    }


def _evaluation(
    table: pd.DataFrame,
    protocol: Protocol,
    rules: MaskRules,
    groups: Mapping[str, str] | None,
    bootstrap: int,
    seed: int,
    notes: list[str],
) -> Evaluation:
    names = [region.name for region in rules.regions]
    cases = list(dict.fromkeys(table["case"]))
    missing = [case for case in cases if groups is not None and case not in groups]
    if missing:
        raise TableError(
            f"{len(missing)} cases have no group: {', '.join(missing[:5])}",
            where="groups",
            remedy="give each case a group, or leave `groups` out",
        )
    grouped = groups is not None
    codes, count = group_codes(np.array([groups[case] if groups else case for case in cases], dtype=object))
    how = Resampling(count, protocol.group if grouped else "case", grouped, len(cases), bootstrap, seed, 0.95)
    cells: dict[str, tuple[int, list[Cell]]] = {}
    for metric in protocol.metrics:
        found = []
        for name in names:
            values: FloatArray = table.loc[table["region"] == name, metric].to_numpy(np.float64)
            known = ~np.isnan(values)
            reason = "" if known.any() else f"undefined in each of {len(cases)} cases"
            mean = ratio(np.where(known, values, 0.0), known.astype(float), codes, count)
            estimator = mean if known.any() else None
            label = name if len(names) > 1 else ""
            found.append(
                Cell(metric, label, int(known.sum()), None, len(np.unique(codes[known])), estimator, reason)
            )
        cells[metric] = (len(cases), found)
    results, remarks = results_of(cells, how)
    return evaluation_of(
        protocol,
        how,
        results,
        classes=("background", *names),
        part="test",
        n=len(cases),
        excluded=0,
        thresholds=(),
        group_column="groups" if grouped else "",
        notes=(*how.notes(), *remarks, *notes),
    )
