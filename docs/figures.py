"""Write the figures of the documentation to docs/images: `python docs/figures.py`.

`python docs/figures.py --screenshot REPORT` also writes report.png, a screenshot of the report of `make demo`. This
needs Chromium.
"""

from __future__ import annotations

import argparse
import io
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from graftwork.common.report.figures.drawing import Theme, draw

IMAGES = Path(__file__).resolve().parent / "images"
SUBSETS = ("train", "validation", "test")
MOST_BYTES = 200_000

PATIENTS = "AAABBCCCDDEEFF"
SPLITS = {
    "split by image: patients B, D, E and F are in two subsets": "00010000121012",
    "split by patient: every patient is in one subset": "00000000112222",
}
STAGES = ("input", "stage 1", "stage 2", "stage 3", "head")
TRAINED = {  # for each strategy, the trainable stages of epochs 1 to 6, as the number of stages from the head
    "linear-probe": (1, 1, 1, 1, 1, 1),
    "last-stages": (2, 2, 2, 2, 2, 2),
    "gradual": (1, 1, 2, 2, 3, 3),
    "probe-then-full": (1, 1, 5, 5, 5, 5),
    "full": (5, 5, 5, 5, 5, 5),
}


def split_by_group(figure: Figure, theme: Theme) -> None:
    for axes, (title, subsets) in zip(figure.subplots(2, 1), SPLITS.items(), strict=True):
        for place, (patient, subset) in enumerate(zip(PATIENTS, subsets, strict=True)):
            colour = theme.lines[int(subset)]
            axes.add_patch(Rectangle((place, 0), 0.9, 1, facecolor=colour, edgecolor="none"))
            axes.text(place + 0.45, 0.5, patient, ha="center", va="center", color=theme.paper, weight="bold")
        axes.set(xlim=(0, len(PATIENTS)), ylim=(-0.05, 1.05))
        axes.set_title(title, loc="left")
        axes.set_axis_off()
    marks = [Rectangle((0, 0), 1, 1, facecolor=theme.lines[number]) for number in range(len(SUBSETS))]
    figure.legend(
        marks,
        SUBSETS,
        loc="outside lower left",
        ncols=3,
        title="each square is an image of a patient (A to F)",
    )


def freezing_by_stage(figure: Figure, theme: Theme) -> None:
    for axes, (name, trained) in zip(
        figure.subplots(1, len(TRAINED), sharey=True), TRAINED.items(), strict=True
    ):
        for epoch, count in enumerate(trained):
            for row in range(len(STAGES)):
                colour = theme.lines[1] if row >= len(STAGES) - count else theme.grid
                axes.add_patch(
                    Rectangle((epoch + 0.55, row - 0.45), 0.9, 0.9, facecolor=colour, edgecolor="none")
                )
        axes.set(
            xlim=(0.5, 6.5), ylim=(-0.6, 4.6), xticks=(1, 6), yticks=range(len(STAGES)), yticklabels=STAGES
        )
        axes.set_title(name)
        axes.set_xlabel("epoch")
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
    marks = [Rectangle((0, 0), 1, 1, facecolor=colour) for colour in (theme.lines[1], theme.grid)]
    figure.legend(marks, ("trained", "frozen"), loc="outside lower left", ncols=2)


def write_figures() -> None:
    for name, paint, height, width in (
        ("split-by-group", split_by_group, 2.3, 6.5),
        ("freezing-by-stage", freezing_by_stage, 2.6, 8.5),
    ):
        head, end, rest = draw(paint, alt="", height=height, width=width).svg.partition(">")
        text = f'{head}{end}<rect width="100%" height="100%" fill="#ffffff"/>{rest}'
        (IMAGES / f"{name}.svg").write_text(text, encoding="utf-8")
        sys.stdout.write(f"docs/images/{name}.svg\n")


def screenshot(report: Path, *, width: int, height: int) -> None:
    """Write docs/images/report.png: the first screen of a report, with few colours so that the file is small."""
    browser = next((found for name in ("chromium", "google-chrome") if (found := shutil.which(name))), None)
    if browser is None:
        sys.exit("docs/figures.py: no Chromium found. Fix: install chromium or google-chrome")
    with tempfile.TemporaryDirectory() as folder:
        shot = Path(folder) / "shot.png"
        words = ["--headless", "--no-sandbox", "--hide-scrollbars", f"--window-size={width},{height}"]
        command = [browser, *words, f"--screenshot={shot}", report.resolve().as_uri()]
        subprocess.run(command, check=True, capture_output=True, timeout=120)
        image = Image.open(shot).convert("RGB")
    for colours in (256, 128, 64, 32):
        file = io.BytesIO()
        image.quantize(colours, dither=Image.Dither.NONE).save(file, "PNG", optimize=True)
        if len(file.getvalue()) < MOST_BYTES:
            break
    (IMAGES / "report.png").write_bytes(file.getvalue())
    sys.stdout.write(f"docs/images/report.png: {len(file.getvalue()):,} bytes\n")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--screenshot", type=Path, metavar="REPORT")
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--height", type=int, default=1000)
    asked = parser.parse_args()
    IMAGES.mkdir(exist_ok=True)
    write_figures()
    if asked.screenshot is not None:
        screenshot(asked.screenshot, width=asked.width, height=asked.height)


if __name__ == "__main__":
    main()
