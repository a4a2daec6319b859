"""Two folders of masks, of the truth and of a prediction, judged case by case and region by region."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from graftwork.common import masks, volumes
from graftwork.common.errors import GraftworkError, TableError, UsageError
from graftwork.common.evaluation.arrays import BoolArray, FloatArray, ratio
from graftwork.common.evaluation.cells import Cell, Resampling, results_of
from graftwork.common.evaluation.intervals import group_codes
from graftwork.common.evaluation.lesions import LesionWise, SubRegion, lesion_wise
from graftwork.common.evaluation.mask_rules import MaskRules, Region
from graftwork.common.evaluation.overlap import dice, jaccard
from graftwork.common.evaluation.results import Evaluation
from graftwork.common.evaluation.surfaces import Surfaces, volume_difference

if TYPE_CHECKING:
    import pandas as pd

    from graftwork.common.evaluation.protocols import Protocol

__all__ = ["evaluate_folders", "judge_masks", "pairs_of"]

_ENDINGS = (".nii.gz", ".nii", ".png", ".tif", ".tiff", ".bmp")
_MARKS = ("_segmentation", "_seg", "-seg", "_mask")
_LISTED = 20


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
    """Judge a folder of predicted masks against one of true masks of the same names.

    Args:
        truth, predicted: folders; a case is a file (.nii, .nii.gz, or a picture), told by its name without its ending
            and without `_seg`, `_segmentation`, `_mask`. In both folders or in neither: a case that is missing is an
            error, never left out.
        protocol: one with mask rules. groups: case to group (patient); None: each case is its own.
        bootstrap, seed: of the intervals. progress: is told what, how many of how many.

    Returns:
        the evaluation, and the table of all values: one row a case and region, with the voxels of both masks.

    Raises:
        TableError: everything that is wrong with the folders at once: cases missing, files that cannot be read, shapes,
            spacings or affines that differ, labels that the protocol does not know.
        UsageError: the protocol has no rules of masks, or a folder is none.
    """
    rules = protocol.masks
    if rules is None:
        raise UsageError(
            "it does not judge folders of masks",
            where=f"protocol {protocol.name!r}",
            remedy="`graftwork ls protocols` lists those that do",
        )
    pairs = pairs_of(Path(truth), Path(predicted))
    faults = [fault for case, pair in pairs.items() for fault in _grid_faults(case, *pair)]
    _refuse(faults, predicted)
    rows = []
    for number, (case, pair) in enumerate(pairs.items()):
        if progress is not None:
            progress("masks", number, len(pairs))
        try:
            arrays, spacing = _read(pair, rules)
        except GraftworkError as error:
            faults.append(f"{case}: {error}")
            continue
        odd = [sorted(set(np.unique(each).tolist()) - {0, *rules.labels}) for each in arrays]
        for values, file in zip(odd, pair, strict=True):
            if rules.labels and values:
                known = ", ".join(map(str, (0, *rules.labels)))
                faults.append(f"{file} holds {', '.join(map(str, values[:5]))}; the protocol knows {known}")
        if not faults:
            found = judge_masks(arrays[0], arrays[1], spacing, rules, protocol.metrics)
            for region, inside in _inside(arrays[0], arrays[1], rules).items():
                voxels = dict(
                    zip(("truth_voxels", "predicted_voxels"), map(int, map(np.sum, inside)), strict=True)
                )
                rows.append({"case": case, "region": region, **found[region], **voxels})
    if progress is not None:
        progress("masks", len(pairs), len(pairs))
    _refuse(faults, predicted)
    import pandas as pd

    table = pd.DataFrame(rows)
    return _evaluation(table, protocol, rules, groups, bootstrap, seed), table


def pairs_of(truth: Path, predicted: Path) -> dict[str, tuple[Path, Path]]:
    """Case to its two files, in the order of their names.

    Raises:
        UsageError: a folder is none. TableError: cases that stand in one folder alone, or twice.
    """
    found: list[dict[str, Path]] = []
    faults = []
    for folder in (truth, predicted):
        if not folder.is_dir():
            raise UsageError("a folder of masks was expected", where=str(folder))
        cases: dict[str, Path] = {}
        for file in sorted(folder.iterdir()):
            name = _case_of(file.name)
            if name is None or not file.is_file():
                continue
            if name in cases:
                faults.append(f"{folder}: the case {name} stands twice, {cases[name].name} and {file.name}")
            cases[name] = file
        if not cases:
            faults.append(f"{folder}: it holds no mask ({', '.join(_ENDINGS)})")
        found.append(cases)
    for one, other, what in ((0, 1, "no prediction"), (1, 0, "no truth")):
        lost = [name for name in found[one] if name not in found[other]]
        if lost and found[other]:
            faults.append(f"{len(lost)} cases have {what}: {', '.join(lost[:5])}")
    _refuse(faults, predicted)
    return {name: (file, found[1][name]) for name, file in found[0].items()}


def _case_of(name: str) -> str | None:
    for ending in _ENDINGS:
        if name.lower().endswith(ending) and not name.startswith("."):
            stem = name[: -len(ending)]
            return next((stem.removesuffix(mark) for mark in _MARKS if stem.endswith(mark)), stem)
    return None


def _refuse(faults: list[str], where: object) -> None:
    if faults:
        more = [f"and {len(faults) - _LISTED} more"] if len(faults) > _LISTED else []
        listing = "".join(f"\n  - {fault}" for fault in [*faults[:_LISTED], *more])
        several = f"{len(faults)} faults" if len(faults) > 1 else "a fault"
        raise TableError(f"the masks have {several}:{listing}", where=str(where))


def _grid_faults(case: str, truth: Path, predicted: Path) -> Iterator[str]:
    try:
        found = masks.fit_faults(truth, predicted)
    except GraftworkError as error:
        yield f"{case}: {error}"
        return
    if found:
        yield f"{case}: truth (image) and prediction (mask) differ: {'; '.join(found)}"


def _read(pair: tuple[Path, Path], rules: MaskRules) -> tuple[list[Any], tuple[float, ...] | None]:
    if not volumes.is_volume(pair[0]):
        return [masks.read_values(file) for file in pair], None
    read = [volumes.read_volume(file) for file in pair]
    grid = read[0].geometry
    # in the order of the file of the truth: organisers' programs number lesions in it, whatever the affine says
    arrays = [
        np.ascontiguousarray(volumes.from_canonical(volumes.whole_numbers(each.array, str(file)), grid))
        for each, file in zip(read, pair, strict=True)
    ]
    return arrays, grid.spacing


def judge_masks(
    truth: Any, predicted: Any, spacing: tuple[float, ...] | None, rules: MaskRules, metrics: tuple[str, ...]
) -> dict[str, dict[str, float]]:
    """Every metric of every region of one case.

    Args:
        truth, predicted: labels, [X, Y, Z] or [H, W]. spacing: mm along each axis; None: not known, so that distances
            are undefined.
        rules: regions and conventions. metrics: in `MASK_METRICS`.

    Returns:
        region to metric to value; NaN where undefined.
    """
    inside = _inside(truth, predicted, rules)
    return {region.name: _of_region(region, inside, spacing, rules, metrics) for region in rules.regions}


def _inside(truth: Any, predicted: Any, rules: MaskRules) -> dict[str, tuple[BoolArray, BoolArray]]:
    """Which voxels of truth and of prediction are of each region."""

    def of(region: Region, values: Any) -> BoolArray:
        return np.asarray(
            np.isin(values, region.labels) if rules.labels else np.asarray(values) > rules.above
        )

    return {region.name: (of(region, truth), of(region, predicted)) for region in rules.regions}


def _of_region(
    region: Region,
    inside: Mapping[str, tuple[BoolArray, BoolArray]],
    spacing: tuple[float, ...] | None,
    rules: MaskRules,
    metrics: tuple[str, ...],
) -> dict[str, float]:
    one, other = inside[region.name]
    empty = (not one.any(), not other.any())
    surfaces = None if spacing is None else Surfaces(one, other, spacing)
    lesions: LesionWise | None = None
    if rules.lesions and spacing is not None and any(name.startswith("lesion") for name in metrics):
        places = {each.name: each for each in rules.regions}
        lesions = lesion_wise(
            one, other, spacing,
            dilation=region.dilation, smallest=region.smallest, penalty=rules.penalty, rules=rules.lesions,
            touching=[
                SubRegion(*inside[name], places[name].dilation, places[name].smallest) for name in region.touching
            ],
        )  # fmt: skip

    def distance(name: str) -> float:
        if surfaces is None:
            return math.nan
        if all(empty):
            return math.nan if rules.empty_both is None else rules.empty_both[1]
        if any(empty):
            return math.nan if rules.empty_one is None else rules.empty_one
        if name == "hausdorff_95":
            return surfaces.hausdorff_95(rules.hausdorff)
        return surfaces.average_distance()

    def share(name: str) -> float:
        if all(empty):
            return math.nan if rules.empty_both is None else rules.empty_both[0]
        if name == "dice":
            return dice(one, other)
        if name.startswith("surface_dice"):
            tolerance = 0.5 if name.endswith("half") else 1.0
            return math.nan if surfaces is None else surfaces.surface_dice(tolerance)
        found = jaccard(one, other)
        return 0.0 if name == "least_jaccard" and found < rules.least else found

    def of_lesions(name: str) -> float:
        if lesions is None:
            return math.nan
        if name == "lesion_dice":
            return lesions.dice
        if name == "lesion_hausdorff_95":
            return lesions.hausdorff_95
        return lesions.surface_dice[0 if name.endswith("half") else 1]

    def rate(name: str) -> float:
        here, called = (one, other) if name == "voxel_sensitivity" else (~one, ~other)
        total = int(here.sum())
        return int((here & called).sum()) / total if total else math.nan

    values = {}
    for name in metrics:
        if name.startswith("lesion"):
            values[name] = of_lesions(name)
        elif name in ("hausdorff_95", "average_surface_distance"):
            values[name] = distance(name)
        elif name.startswith("voxel"):
            values[name] = rate(name)
        elif name == "volume_difference":
            values[name] = volume_difference(one, other)
        else:
            values[name] = share(name)
    return values


def _evaluation(
    table: pd.DataFrame,
    protocol: Protocol,
    rules: MaskRules,
    groups: Mapping[str, str] | None,
    bootstrap: int,
    seed: int,
) -> Evaluation:
    names = [region.name for region in rules.regions]
    cases = list(dict.fromkeys(table["case"]))
    missing = [case for case in cases if groups is not None and case not in groups]
    if missing:
        raise TableError(f"{len(missing)} cases have no group: {', '.join(missing[:5])}", where="groups")
    codes, count = group_codes(
        np.array([case if groups is None else groups[case] for case in cases], dtype=object)
    )
    grouped = groups is not None
    how = Resampling(count, protocol.group if grouped else "case", grouped, len(cases), bootstrap, seed, 0.95)
    cells: dict[str, tuple[int, list[Cell]]] = {}
    for metric in protocol.metrics:
        found = []
        for name in names:
            values: FloatArray = table.loc[table["region"] == name, metric].to_numpy(np.float64)
            known = ~np.isnan(values)
            reason = "" if known.any() else f"undefined in each of {len(cases)} cases"
            estimator = (
                ratio(np.where(known, values, 0.0), known.astype(float), codes, count)
                if known.any()
                else None
            )
            label = name if len(names) > 1 else ""
            found.append(
                Cell(metric, label, int(known.sum()), None, len(np.unique(codes[known])), estimator, reason)
            )
        cells[metric] = (len(cases), found)
    results, remarks = results_of(cells, how)
    return Evaluation(
        protocol=protocol.name,
        version=protocol.version,
        kind=protocol.kind,
        classes=("background", *names),
        part="test",
        n=len(cases),
        groups=count,
        excluded=0,
        thresholds=(),
        results=results,
        bootstrap=bootstrap,
        seed=seed,
        confidence=0.95,
        numpy=np.__version__,
        unit=protocol.unit,
        group=how.name,
        group_column="groups" if grouped else "",
        notes=(*how.notes(), *remarks),
        target=protocol.target,
    )
