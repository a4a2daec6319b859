"""What a reader of the page of two folders of masks relies on: regions, single cases, empty masks, the reasons."""

from __future__ import annotations

import math
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from read_pages import Page, check, worded

from graftwork.common.evaluation import Evaluation, Protocol, Result
from graftwork.common.evaluation.mask_rules import MaskRules, Region
from graftwork.common.external.mask_folders import evaluate_folders
from graftwork.common.report import masks_report
from graftwork.common.report.figures.mask_figures import CaseStrip, case_strips
from graftwork.common.report.page import LIMIT

REGIONS = ("whole", "core")
METRICS = ("dice", "hausdorff_95", "voxel_sensitivity")
RULES = Protocol(
    "trial", 3, "A trial of masks", "nobody", "case", "segmentation", "dice", METRICS,
    classes=("background", *REGIONS), group="patient",
    masks=MaskRules(regions=(Region("whole", (1, 2)), Region("core", (2,))), labels=(1, 2), empty_one=300.0),
)  # fmt: skip


def values(
    n: int = 14, regions: tuple[str, ...] = REGIONS, metrics: tuple[str, ...] = METRICS
) -> pd.DataFrame:
    """Dice of case k is k / n in the first region and half of that in others; case 0 lacks the last region."""
    rows = []
    for k in range(n):
        for place, region in enumerate(regions):
            dice = k / n if place == 0 else k / (2 * n)
            lacking = k == 0 and place == len(regions) - 1
            found = {"dice": dice, "hausdorff_95": 300.0 if k == 0 else 1.0 + k, "voxel_sensitivity": dice}
            row = {name: math.nan if lacking else found.get(name, dice) for name in metrics}
            sizes = {"truth_voxels": 0 if lacking else 9, "predicted_voxels": 0 if k < 3 else 4}
            rows.append({"case": f"case {k:03d}", "region": region, **row, **sizes})
    return pd.DataFrame(rows)


def judged(table: pd.DataFrame, rules: Protocol = RULES, low: float = 0.05) -> Evaluation:
    """The means of a table, with limits `low` away from them; NaN: no limits."""
    regions = list(dict.fromkeys(table["region"]))
    n = table["case"].nunique()

    def made(metric: str, label: str, value: float, known: int) -> Result:
        reason = "1 case only: nothing to resample" if math.isnan(low) else ""
        classes = None if label else (len(regions), len(regions))
        return Result(metric, label, value, value - low, value + low, known, None, known, reason, "bootstrap",
                      classes=classes if len(regions) > 1 else None)  # fmt: skip

    results = []
    for metric in rules.metrics:
        of = [table.loc[table["region"] == name, metric] for name in regions]
        own = [
            made(metric, name, float(each.mean()), int(each.notna().sum()))
            for name, each in zip(regions, of, strict=True)
        ]
        if len(regions) > 1:
            results.append(made(metric, "", float(np.mean([each.value for each in own])), n))
        results += own
    return Evaluation(
        rules.name, rules.version, "segmentation", ("background", *regions), "test", n, n, 0, (), tuple(results), 500,
        7, 0.95, np.__version__, "case", "case", "", notes=("each case counts as its own group",),
    )  # fmt: skip


def written(table: pd.DataFrame, folder: Path, rules: Protocol = RULES, low: float = 0.05) -> Page:
    found = judged(table, rules, low)
    return worded(
        lambda out: masks_report(found, table, rules, out, folders=("/home/x/truth", "/home/x/mine")), folder
    )


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Page:
    table = values()
    out = tmp_path_factory.mktemp("masks") / "out.html"
    return Page(
        masks_report(judged(table), table, RULES, out, folders=("a/truth", "b/mine")).read_text("utf-8")
    )


def test_the_page_loads_nothing_and_has_words_for_its_figures(page: Page) -> None:
    check(page, figures=len(METRICS))
    alts = [attrs["alt"] or "" for attrs in page.named("img")]
    assert alts[0].startswith(
        "Dice by region, 14 cases. whole: mean 0.464 (0.414 to 0.514), median 0.464, from 0.000 to"
    )
    assert "core: mean" in alts[0] and any(
        alt.startswith("Hausdorff distance, 95 %, max-of-directed (mm) by region, 14") for alt in alts
    )


def test_the_headline_and_the_table_by_region(page: Page) -> None:
    """Means by hand: of 0/14 ... 13/14 it is 13/28; of halves without the first one 7/28."""
    mean = (13 / 28 + 7 / 28) / 2
    assert page.result() == (
        "Dice, mean over 2 of 2 regions",
        f"{mean:.3f}",
        f"95 % interval {mean - 0.05:.3f} to {mean + 0.05:.3f}",
    )
    assert page.title() == "mine against truth" and "14 cases." in page.section("result").text
    assert "by protocol trial, version 3" in page.text
    rows = page.rows("All metrics")
    assert rows[1][0] == "Dice, mean over 2 of 2 regions"
    assert rows[2] == ["whole", "0.464", "0.414 to 0.514", "14 of 14"]
    assert rows[3] == ["core", "0.250", "0.200 to 0.300", "13 of 14"]
    assert (
        rows[4][0]
        == "Hausdorff distance, 95 %, max-of-directed (mm), mean over 2 of 2 regions; lower is better"
    )
    assert "Each case counts as its own group." in page.text


def test_the_worst_cases_come_first(page: Page) -> None:
    heads, *rows = page.rows("The 10 worst of 14 cases")
    assert heads == ["case", "mean", "whole", "core"]
    assert [row[0] for row in rows] == [f"case {k:03d}" for k in range(10)]
    assert rows[0] == ["case 000", "0.000", "0.000", "–"]
    assert rows[4] == ["case 004", f"{3 / 14:.3f}", f"{4 / 14:.3f}", f"{2 / 14:.3f}"]


def test_few_cases_ties_and_cases_without_a_value(tmp_path: Path) -> None:
    few = values(4)
    assert len(written(few, tmp_path).rows("4 cases, the worst first")) == 5
    table = values(14)
    table.loc[table["case"] < "case 012", "dice"] = 0.0
    table.loc[table["case"] == "case 013", "dice"] = np.nan
    page = written(table, tmp_path)
    assert len(page.rows("The 10 worst of 13 cases")) == 11
    assert "2 further cases with the same value as the last one here." in page.text
    assert "1 case without a value in any region are not ranked" not in page.text
    assert "1 case without a value in any region: not ranked." in page.text


def test_empty_masks_are_counted_where_the_table_tells(page: Page, tmp_path: Path) -> None:
    heads, *rows = page.rows("Cases by empty masks")
    assert heads == [
        "region",
        "neither empty",
        "only predicted mask empty",
        "only true mask empty",
        "both empty",
    ]
    assert rows == [["whole", "11", "3", "0", "0"], ["core", "11", "2", "0", "1"]]
    table = values()
    table.loc[(table["case"] == "case 005") & (table["region"] == "whole"), "truth_voxels"] = 0
    again = written(table, tmp_path).rows("Cases by empty masks")
    assert again[1] == ["whole", "10", "3", "1", "0"]
    bare = written(values().drop(columns=["truth_voxels", "predicted_voxels"]), tmp_path)
    assert "the table has no columns truth_voxels and predicted_voxels" in bare.text
    assert "the table has no columns" not in page.text


def test_the_policy_of_empty_masks_stands_in_the_methods(page: Page) -> None:
    assert "where one does, it is 0 and a distance 300 mm" in page.text
    assert "A file without its pair is an error" in page.text


def test_what_a_mean_leaves_out_and_what_has_no_interval(page: Page, tmp_path: Path) -> None:
    assert "Dice is undefined in some cases, which the mean leaves out: 1 of core." in page.text
    alone = written(values(), tmp_path, low=math.nan)
    assert "Dice n/a undefined: 1 case only: nothing to resample" in alone.text
    rows = alone.rows("All metrics")
    assert {row[1] for row in rows[1:]} == {"n/a"}
    assert {row[2] for row in rows[1:]} == {"n/a: 1 case only: nothing to resample"}
    assert "Dice of whole: 1 case only: nothing to resample." in alone.text
    alts = " ".join(attrs["alt"] or "" for attrs in alone.named("img"))
    assert "mean" not in alts and "median" in alts


def test_what_it_takes_to_get_the_numbers_again(page: Page, tmp_path: Path) -> None:
    rows = {row[0]: row[1] for row in page.rows("Inputs")}
    assert (rows["truth"], rows["predictions"]) == ("truth", "mine")
    assert rows["replicates"] == "500, seed 7" and rows["groups"] == "none: each case is a group"
    assert "/home" not in written(values(), tmp_path).html
    table, found = values(), judged(values())
    out = masks_report(found, table, RULES, tmp_path / "bare.html")
    assert "predictions" not in {row[0] for row in Page(out.read_text("utf-8")).rows("Inputs")}


def test_pictures_by_a_protocol_of_one_region(tmp_path: Path) -> None:
    """Jaccard 1, 0.7 and 0.5 by their widths; Dice 2 J / (1 + J)."""
    for number, width in enumerate((10, 7, 5)):
        truth, predicted = np.zeros((20, 20), np.uint8), np.zeros((20, 20), np.uint8)
        truth[:, :10], predicted[:, :width] = 255, 255
        for folder, array in (("truth", truth), ("mine", predicted)):
            (tmp_path / folder).mkdir(exist_ok=True)
            Image.fromarray(array).save(tmp_path / folder / f"p{number}.png")
    rules = Protocol(
        "flat", 1, "Flat", "nobody", "picture", "segmentation", "jaccard", ("jaccard", "dice"),
        classes=("background", "it"), masks=MaskRules(regions=(Region("it", (1,)),), above=128),
    )  # fmt: skip
    found, table = evaluate_folders(tmp_path / "truth", tmp_path / "mine", rules, bootstrap=50)
    page = worded(lambda out: masks_report(found, table, rules, out), tmp_path)
    rows = {row[0]: row[1:] for row in page.rows("All metrics")}
    assert rows["Jaccard index"][0] == f"{2.2 / 3:.3f}" and rows["Jaccard index"][2] == "3 of 3"
    assert rows["Dice"][0] == f"{(1 + 1.4 / 1.7 + 1 / 1.5) / 3:.3f}"
    assert page.rows("3 pictures, the worst first")[1:] == [["p2", "0.500"], ["p1", "0.700"], ["p0", "1.000"]]
    assert "regions" not in page.text.split("Methods")[0]


def test_many_cases_and_odd_names_stay_readable_and_small(tmp_path: Path) -> None:
    regions = ("<b>whole</b>", "基底細胞癌" * 20)
    table = values(500, regions, ("dice",))
    table["case"] = [f"<i>{case}</i>{'x' * 200}" for case in table["case"]]
    rules = Protocol(
        "trial", 1, "T", "nobody", "case", "segmentation", "dice", ("dice",), classes=("background", *regions),
        masks=MaskRules(regions=tuple(Region(name, (1,)) for name in regions), labels=(1,)),
    )  # fmt: skip
    out = masks_report(judged(table, rules), table, rules, tmp_path / "out.html")
    page = Page(out.read_text("utf-8"))
    check(page, figures=1)
    assert "<i>" not in page.html and "<b>whole" not in page.html
    rows = page.rows("The 10 worst of 500 cases")
    assert (
        len(rows) == 11 and max(len(row[0].replace("&lt;", "<").replace("&gt;", ">")) for row in rows) <= 40
    )
    assert (
        "The figure shows 300 of 500 points of a region, evenly spaced by rank, and all triangles."
        in page.text
    )
    assert out.stat().st_size < LIMIT


def test_worst_cases_differ_in_shape_and_all_of_them_are_drawn() -> None:
    marked = np.zeros(1000, bool)
    marked[:10] = True
    strip = CaseStrip("it", np.linspace(0, 1, 1000), 0.5, 0.48, 0.52, marked)
    drawing = case_strips([strip], x_label="Dice", unit="case", worst="10 worst cases", share=True)
    drawn = Counter(re.findall(r'<use xlink:href="#(\w+)"', drawing.svg))
    shapes = dict(re.findall(r'<path id="(\w+)" d="(.*?)"', drawing.svg, re.DOTALL))
    by = {n: shapes[name] for name, n in drawn.items()}
    assert "C" in by[300] and "C" not in by[10]  # circles are curved, triangles are not


def test_a_far_distance_does_not_hide_the_others() -> None:
    near = np.array([2.0, 3.0, 4.0, 5.0])
    none = np.zeros(5, bool)

    def said(values: np.ndarray, share: bool = False) -> str:
        strip = CaseStrip("it", values, math.nan, math.nan, math.nan, none[: len(values)])
        return case_strips([strip], x_label="mm", unit="case", worst="", share=share).svg

    assert "logarithmic above 1" in said(np.array([*near, 374.0])) and "logarithm" not in said(near)
    assert ">0.0<" in said(np.array([0.2, 0.95]), True) and ">0.0<" not in said(np.array([0.91, 0.95]), True)
