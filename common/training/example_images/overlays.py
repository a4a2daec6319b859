"""Segmentation overlays: the best, the median and the worst unit of the test part with truth and prediction.

A unit is what the predictions have a row of: a volume, a stack of slices, an image. It is drawn from the files that
the run names, so the images can be made again without the network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from graftwork.common.data.images import read_image
from graftwork.common.data.masks import read_mask
from graftwork.common.data.volumes import is_volume, read_volume
from graftwork.common.errors import DatasetError, ImageError, RunError
from graftwork.common.evaluation.metrics.mask_overlap import read_masks, unit_values
from graftwork.common.files import swap_folder, write_json

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from graftwork.common.runs.run_folder import Run


SIDE, DOTS = 2.4, 130  # inches of a panel, and dots an inch
TRUTH, PREDICTION, HALO, PAPER = "#ffffff", "#ff9a1f", "#000000", "#101214"
AROUND = 1.0  # margin on each side of the mask, in units of its size
LEAST = 64  # pixels of a side that are shown at least, where the image has them


@dataclass(frozen=True)
class _View:
    """A plane to be drawn: pixels [H, W] or [H, W, 3] in 0..1, classes [H, W] of both, height of a pixel over its
    width, and the letters at its left and right side."""

    name: str
    pixels: NDArray[np.float32]
    truth: NDArray[np.uint8]
    predicted: NDArray[np.uint8]
    aspect: float = 1.0
    sides: tuple[str, str] = ("", "")


def chosen_units(dice: NDArray[np.float64], names: Sequence[str]) -> list[tuple[str, int]]:
    """Which rows are the best, the median (of an even number the lower one) and the worst by the mean over classes.

    A row of which no class has a value is none of them; of equals the first name comes first. Two rows are the best
    and the worst, one is the best.
    """
    known = np.isfinite(dice)
    means = np.where(known, dice, 0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    order = sorted(np.flatnonzero(known.any(axis=1)).tolist(), key=lambda row: (-means[row], names[row]))
    places = {"best": 0, "median": len(order) // 2, "worst": len(order) - 1}
    if len(order) < 3:
        places.pop("median")
    return [(which, order[at]) for which, at in places.items() if order and (at or which == "best")]


def write_examples(run: Run) -> None:
    """Write `examples/`: an image of the best, the median and the worst unit of the test part, and `index.json`.

    Raises:
        RunError: the target is no segmentation, or the folder cannot be written.
        TableError: the predictions are not those of one.
    """
    target, part = run.manifest.target, "test"
    if target.kind != "segmentation":
        raise RunError(
            "the run told no masks to be drawn", where=run.folder, remedy="evaluate a run of a segmentation"
        )
    classes, frame = target.classes[1:], run.predictions
    masks = read_masks(frame, target.classes, part)
    dice = unit_values("dice", masks, run.protocol.empty)
    dice[~((masks.truth + masks.predicted) > 0).any(axis=1)] = np.nan  # there is nothing to be seen
    rows = {str(case): row for row, case in enumerate(frame["case"])}
    index: list[dict[str, Any]] = []
    with swap_folder(run.folder / "examples") as folder:
        for which, place in chosen_units(dice, [str(case) for case in masks.case]):
            unit = frame.iloc[rows[str(masks.case[place])]]
            spacing = unit.get("spacing")
            entry = {
                "which": which,
                "case": str(unit["case"]),
                "group": str(unit["group"]),
                "label": f"{which} of {int(np.isfinite(dice).any(axis=1).sum())}",
                "dice": float(np.nanmean(dice[place])),
                "spacing_known": isinstance(spacing, str) and bool(spacing),
                "picture": "",
            }
            values = ", ".join(
                f"{name} {'undefined' if np.isnan(value) else f'{value:.3f}'}"
                for name, value in zip(classes, dice[place], strict=True)
            )
            try:
                views, said = _views(run, unit)
            except (ImageError, DatasetError) as error:  # the numbers stand without the image
                said = f"No image: {error.what}"
            else:
                entry["picture"] = f"{which}.png"
                _draw(views, classes, folder / f"{which}.png")
            index.append({**entry, "caption": f"Dice {values}. {said}."})
        write_json(folder / "index.json", index)


def _views(run: Run, unit: pd.Series) -> tuple[list[_View], str]:
    """The planes of a unit in which most is to be seen, and what they are."""
    manifest = run.manifest
    frame, part = manifest.frame, run.split.parts.to_numpy() == unit["part"]
    name = str(unit["case"])
    chosen = part & (frame["case"] == name).to_numpy()
    if manifest.unit and (unit.get("images", 1) > 1 or not chosen.any()):  # a stack is named after its unit
        chosen = part & (frame[manifest.unit].astype(str) == name).to_numpy()
    there = np.flatnonzero(chosen & frame["mask"].notna().to_numpy()).tolist()
    rows = [row for row in there if _predicted(run, row) is not None]
    if not rows:
        raise DatasetError(
            "its predicted mask is gone",
            where=name,
            remedy="give `graftwork evaluate RUN`, which predicts it again",
        )
    if "slice" in frame.columns:
        rows.sort(key=lambda row: (frame["slice"].iloc[row], row))
    if is_volume(manifest.file(rows[0])):
        return _planes(run, rows[0])
    return _slice(run, rows, unit.get("spacing"))


def _masks(run: Run, row: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Classes of a row's image: the truth, and what the network said."""
    frame, target, place = run.manifest.frame, run.manifest.target, _predicted(run, row)
    if place is None:
        raise DatasetError(
            "its predicted mask is gone",
            where=str(frame["case"].iloc[row]),
            remedy="give `graftwork evaluate RUN`, which predicts it again",
        )
    truth = read_mask(run.manifest.root / str(frame["mask"].iloc[row]), target.values)
    predicted = read_mask(place, target.values)
    if truth.shape != predicted.shape:
        raise ImageError(
            f"the prediction has the shape {predicted.shape}, the truth {truth.shape}",
            where=str(frame["case"].iloc[row]),
            stage="content",
            remedy="give `graftwork evaluate RUN`, which predicts it again",
        )
    return truth, predicted


def _predicted(run: Run, row: int) -> Path | None:
    """The mask's file in the folder of the run, named after the case; None where there is none, as of an image that
    could not be read."""
    case = str(run.manifest.frame["case"].iloc[row])
    places = (run.folder / "masks" / f"{case}{suffix}" for suffix in (".nii.gz", ".png"))
    return next((place for place in places if place.is_file()), None)


def _slice(run: Run, rows: Sequence[int], spacing: Any) -> tuple[list[_View], str]:
    """Of a stack the slice with the largest true area (where there is none, the largest predicted one)."""
    masks = [_masks(run, row) for row in rows]
    areas = [((truth > 0).sum(), (said > 0).sum()) for truth, said in masks]
    at = max(range(len(rows)), key=lambda place: (*map(int, areas[place]), -abs(place - len(rows) // 2)))
    truth, predicted = masks[at]
    picture = read_image(run.manifest.file(rows[at]), constant="allow")
    if picture.pixels.shape[:2] != truth.shape:
        raise ImageError(
            f"the mask has the shape {truth.shape}, its image {picture.pixels.shape[:2]}",
            where=str(run.manifest.frame["case"].iloc[rows[at]]),
            stage="content",
            remedy="regrid the mask (`graftwork regrid`), or get image and mask from their source again",
        )
    pixels = (picture.pixels.astype(np.float32) - picture.low) / (picture.high - picture.low)
    sides = [float(side) for side in spacing.split()] if isinstance(spacing, str) and spacing else []
    aspect = sides[-2] / sides[-1] if len(sides) == 3 and sides[-1] > 0 else 1.0
    view = _View("", pixels[..., 0] if pixels.shape[2] == 1 else pixels, truth, predicted, aspect)
    said = f"Slice {at + 1} of {len(rows)}, {_why(bool(areas[at][0]))}; " if len(rows) > 1 else ""
    known = f"spacing {_mm(sides)}" if sides else "spacing unknown"
    shown, whole = _windowed(view)
    missed = "; nothing is predicted in it" if areas[at][0] and not areas[at][1] else ""
    text = f"{said}{known}{missed}{'' if whole else '; only the surroundings are shown'}"
    return [shown], text[:1].upper() + text[1:]


def _planes(run: Run, row: int) -> tuple[list[_View], str]:
    """Three planes of a volume through the middle of what is true in the axial slice where that is largest."""
    volume = read_volume(run.manifest.file(row))
    truth, predicted = _masks(run, row)
    if truth.shape != volume.array.shape:
        raise ImageError(
            f"the mask has the shape {truth.shape}, its volume {volume.array.shape}",
            where=str(run.manifest.frame["case"].iloc[row]),
            stage="content",
            remedy="regrid the mask (`graftwork regrid`), or get image and mask from their source again",
        )
    shown = truth if truth.any() else predicted
    z = int((shown > 0).sum(axis=(0, 1)).argmax()) if shown.any() else shown.shape[2] // 2
    inside = np.argwhere(shown[:, :, z] > 0)
    x, y = (int(v) for v in (inside.mean(axis=0).round() if len(inside) else np.array(shown.shape[:2]) // 2))
    finite = volume.array[np.isfinite(volume.array)]
    low, high = np.percentile(finite, [0.5, 99.5]) if len(finite) else (0.0, 1.0)
    grey = np.nan_to_num((volume.array - low) / max(float(high - low), 1e-12)).clip(0, 1).astype(np.float32)
    sx, sy, sz = (float(side) for side in volume.spacing)
    # canonical axes grow to the right, to the front and upwards; shown with the right side at the left, as is usual
    cuts: tuple[tuple[str, Any, float, tuple[str, str]], ...] = (
        ("axial", np.s_[::-1, ::-1, z], sy / sx, ("R", "L")),
        ("coronal", np.s_[::-1, y, ::-1], sz / sx, ("R", "L")),
        ("sagittal", np.s_[x, ::-1, ::-1], sz / sy, ("A", "P")),
    )
    views = [
        _windowed(_View(name, grey[cut].T, truth[cut].T, predicted[cut].T, aspect, sides))[0]
        for name, cut, aspect, sides in cuts
    ]
    return views, (
        f"Planes through voxel {x + 1}, {y + 1}, {z + 1} of {' × '.join(map(str, shown.shape))}, the axial one "
        f"{_why(bool(truth.any()))}; spacing {_mm((sx, sy, sz))}; R, L, A, P (right, left, front, back) as the file's "
        "header says"
    )


def _why(true: bool) -> str:
    return "the slice with the largest true area" if true else "the truth being empty in every slice"


def _mm(sides: Sequence[float]) -> str:
    return f"{' × '.join(f'{side:.3g}' for side in sides)} mm"


def _windowed(view: _View) -> tuple[_View, bool]:
    """The mask with its margin; whether that is the whole image."""
    marked = (view.truth > 0) | (view.predicted > 0)
    if not marked.any():
        return view, True
    spans = []
    for axis, length in enumerate(marked.shape):
        at = np.flatnonzero(marked.any(axis=1 - axis))
        size = int(at[-1] - at[0] + 1)
        room = max(int(AROUND * size), (LEAST - size + 1) // 2)
        spans.append(slice(max(0, int(at[0]) - room), min(length, int(at[-1]) + 1 + room)))
    window = tuple(spans)
    whole = marked[window].shape == marked.shape
    cut = _View(
        view.name, view.pixels[window], view.truth[window], view.predicted[window], view.aspect, view.sides
    )
    return cut, whole


def _draw(views: Sequence[_View], classes: Sequence[str], file: Path) -> None:
    """One panel, or three and the key in the place of a fourth."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # a user's matplotlibrc must not change an image
        cast(Any, matplotlib.rcParams).update({"text.parse_math": False, "font.size": 10})
        one = len(views) == 1
        shape = (SIDE * 1.4, SIDE * 1.4 + 0.32) if one else (2 * SIDE, 2 * SIDE)
        figure = Figure(figsize=shape, dpi=DOTS, facecolor=PAPER)
        bottom = 0.32 / shape[1]
        places = (
            [(0.0, bottom, 1.0, 1.0 - bottom)]
            if one
            else [(0.0, 0.505, 0.495, 0.495), (0.505, 0.505, 0.495, 0.495), (0.0, 0.0, 0.495, 0.495)]
        )
        for view, place in zip(views, places, strict=True):
            _panel(figure.add_axes(place), view, len(classes))
        key = figure.add_axes((0.0, 0.0, 1.0, bottom) if one else (0.505, 0.0, 0.495, 0.495))
        _key(key, classes, one)
        canvas: Any = FigureCanvasAgg(figure)  # its methods have no types
        canvas.print_png(file, metadata={"Software": None})


def _panel(axes: Axes, view: _View, classes: int) -> None:
    from matplotlib.patheffects import withStroke

    axes.set_axis_off()
    axes.imshow(view.pixels, cmap="gray", vmin=0, vmax=1, aspect=view.aspect, interpolation="nearest")
    for mask, prediction in ((view.truth, False), (view.predicted, True)):
        for k in range(1, classes + 1):
            _outline(axes, mask == k, prediction)
    halo = [withStroke(linewidth=2.5, foreground=HALO)]
    for k in range(1, classes + 1) if classes > 1 else ():
        rows, columns = np.nonzero(view.truth == k)
        if len(rows):
            axes.text(
                float(columns.mean()), float(rows.mean()), str(k), color=TRUTH, fontsize=10, fontweight="bold",
                ha="center", va="center", path_effects=halo,
            )  # fmt: skip
    for x, side, text in ((0.02, "left", view.sides[0]), (0.98, "right", view.sides[1])):
        if text:
            axes.text(
                x, 0.5, text, transform=axes.transAxes, color=TRUTH, fontsize=12, fontweight="bold", ha=side,
                va="center", path_effects=halo,
            )  # fmt: skip
    if view.name:
        axes.text(
            0.02, 0.98, view.name, transform=axes.transAxes, color=TRUTH, fontsize=10, ha="left", va="top",
            path_effects=halo,
        )  # fmt: skip


def _outline(axes: Axes, mask: NDArray[np.bool_], prediction: bool) -> None:
    """The border of a mask along the edges of its pixels: truth solid, prediction dashed, both on a dark halo."""
    if not mask.any():
        return
    fine = max(1, min(4, 1024 // max(mask.shape)))
    enlarged = np.pad(np.kron(mask, np.ones((fine, fine))), 1)
    y, x = ((np.arange(-1, length * fine + 1) + 0.5) / fine - 0.5 for length in mask.shape)
    for colour, width in ((HALO, 3.2), (PREDICTION if prediction else TRUTH, 1.6)):
        lines: Any = axes.contour(x, y, enlarged, levels=[0.5], colors=[colour], linewidths=[width])
        # dashes grow with the width: those of the halo are made to lie below those of the line
        lines.set_linestyle([(0, (4.8 / width, 3.5 / width))] if prediction else ["solid"])


def _key(axes: Axes, classes: Sequence[str], one: bool) -> None:
    """What the lines and the numbers are."""
    axes.set_axis_off()
    axes.set(xlim=(0, 1), ylim=(0, 1))
    entries = [("truth", TRUTH, "-"), ("prediction", PREDICTION, (0, (3.0, 2.2)))]
    named = [f"{k} {_short(name)}" for k, name in enumerate(classes, 1)] if len(classes) > 1 else []
    for place, (text, colour, style) in enumerate(entries):
        x, y = (0.03 + 0.26 * place, 0.5) if one else (0.12, 0.82 - 0.12 * place)
        length = 0.08 if one else 0.2
        axes.plot([x, x + length], [y, y], color=colour, linestyle=style, linewidth=2)
        axes.text(x + length + 0.02, y, text, color=TRUTH, va="center", fontsize=10)
    said = "  ".join(named) if one else "\n".join(named[:8])
    if said:
        axes.text(0.58 if one else 0.12, 0.5 if one else 0.6, said, color=TRUTH, fontsize=10 if not one else 8,
                  va="center" if one else "top", clip_on=True)  # fmt: skip


def _short(name: str) -> str:
    return name if len(name) <= 24 else f"{name[:23]}…"
