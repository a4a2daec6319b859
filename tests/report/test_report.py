"""What a reader of a report relies on: it holds everything, hides nothing, loads nothing, and is the same each time."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
import yaml
from made_runs import PRIVATE, as_json, made_run
from PIL import Image
from read_pages import Page, words

from graftwork.common.data.targets import Target
from graftwork.common.errors import RunError, UsageError
from graftwork.common.recipe import load, to_toml
from graftwork.common.report import model_card, report
from graftwork.common.report.figures.drawing import LIGHT
from graftwork.common.report.formatting import (
    Scrubber,
    count,
    duration,
    interval,
    number,
    rate,
    score,
    sentence,
)
from graftwork.common.report.page import LIMIT, render
from graftwork.common.report.run.run_facts import limits_of
from graftwork.common.runs.run_folder import Run, open_run
from graftwork.common.wording import plural


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return made_run(tmp_path_factory.mktemp("runs") / "kermany_full" / "0-1a2b3c4d")


@pytest.fixture(scope="module")
def page(run: Run) -> Page:
    return Page(render([run]))


@pytest.fixture(scope="module")
def several(run: Run, tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    out = tmp_path_factory.mktemp("several")
    return [
        run,
        made_run(out / "full" / "1-bbbb", seed=1),
        made_run(out / "probe" / "0-cccc", strategy="linear-probe", skill=1.2),
        made_run(out / "probe" / "1-dddd", strategy="linear-probe", skill=1.2, seed=1),
        made_run(out / "scratch" / "0-eeee", strategy="scratch", skill=0.6),
    ]


@pytest.fixture(scope="module")
def compared(several: list[Run]) -> Page:
    return Page(render(several))


# Self-contained and safe


@pytest.mark.parametrize("which", ["one", "several"])
def test_the_page_loads_nothing_and_runs_nothing(which: str, page: Page, compared: Page) -> None:
    page = page if which == "one" else compared
    assert not {"script", "link", "iframe", "object", "embed", "base", "form"} & {tag for tag, _ in page.tags}
    for tag, attrs in page.tags:
        assert not [name for name in attrs if name.startswith("on") or name == "style"], tag
        for name in ("src", "srcset"):
            assert (attrs.get(name) or "data:image/").startswith("data:image/")
        assert (attrs.get("href") or "#").startswith("#")
    assert "url(" not in page.style and "@import" not in page.style
    for svg in page.pictures():
        assert "http" not in svg.replace("http://www.w3.org/", "")
        assert "<script" not in svg and "style=" not in svg and "<style" not in svg


@pytest.mark.parametrize("which", ["one", "several"])
def test_the_policy_admits_the_style_block_and_nothing_else(which: str, page: Page, compared: Page) -> None:
    page = page if which == "one" else compared
    (policy,) = [attrs["content"] or "" for attrs in page.named("meta") if "http-equiv" in attrs]
    digest = base64.b64encode(hashlib.sha256(page.style.encode()).digest()).decode()
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules == {
        "default-src": "'none'", "img-src": "data:", "style-src": f"'sha256-{digest}'",
        "base-uri": "'none'", "form-action": "'none'",
    }  # fmt: skip
    assert len(page.named("style")) == 0 or page.html.count("<style>") == 1


def test_every_figure_is_well_formed_and_is_there_once(page: Page) -> None:
    pictures = page.pictures()
    assert len(pictures) >= 6 and len(set(pictures)) == len(pictures)
    for svg in pictures:
        ElementTree.fromstring(svg)
    assert len([each for each in page.named("img") if each.get("class") == "chart"]) == len(pictures)
    # on paper the colours of the light mode, whatever the screen shows
    assert re.search(
        r"@media screen and \(prefers-color-scheme: dark\) {\s*\.chart { filter: invert", page.style
    )


def test_names_are_escaped(tmp_path: Path) -> None:
    evil = '<script>alert("x")</script>'
    run = made_run(
        tmp_path / "r", case_name=lambda i: f"{evil}{i}", title=f"A {evil} & more", quarantine=1,
        notes=(f"Note {evil}",), target=Target("d", "binary", ("<b>no", "yes</b>&\"'")),
    )  # fmt: skip
    page = Page(render([run]))  # the parser fails where a tag of a name would open or close
    assert ("<script" not in page.html.lower() and not page.named("b")) or "alert" in page.text
    assert evil in page.text and "yes</b>" in page.text
    for svg in page.pictures():
        ElementTree.fromstring(svg)
    card = model_card(run)
    assert "<script" not in card.split("---\n", 2)[2]
    words([run, made_run(tmp_path / "s", title=evil, seed=1, target=run.manifest.target)])


def test_no_path_and_no_user_name_on_any_page(tmp_path: Path) -> None:
    file = "/home/jane doe/weights/net.safetensors"
    run = made_run(tmp_path / "deep" / "run", quarantine=3, changes=(f"backbone.file={json.dumps(file)}",))
    first = render([run])
    for text in (first, model_card(run), words([run, made_run(tmp_path / "deep" / "other", seed=1)]).html):
        assert "jane" not in text and "secret" not in text and "/home" not in text
        assert str(tmp_path) not in text and str(Path.home()) + "/" not in text
    assert "…/net.safetensors" in first
    assert "truncated at DIR/a/0.png" in Page(first).text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("at /srv/x y/data/a/1.png today", "at DIR/a/1.png today"),
        ("at /opt/models/net.pt: bad", "at …/net.pt: bad"),
        ("in /home/jane", "in ~"),
        ("n/a, 12 images/s, and/or", "n/a, 12 images/s, and/or"),
        ("see https://example.org/a/b/c", "see https://example.org/a/b/c"),
        ("C:\\Users\\jane\\x.png", "…/x.png"),
        ("chest_xray/kermany", "chest_xray/kermany"),
    ],
)
def test_the_scrubber_takes_paths_and_nothing_else(text: str, shown: str) -> None:
    assert Scrubber({"/srv/x y/data/": "DIR", "": "", "/": "no"})(text) == shown


def test_the_page_stays_below_its_limit_and_says_what_it_left_out(tmp_path: Path) -> None:
    run = made_run(tmp_path / "r")
    noise = np.random.default_rng(0).integers(0, 256, (400, 400, 3), dtype=np.uint8)
    for picture in (run.folder / "mistakes").glob("*.jpg"):
        Image.fromarray(noise).save(picture, quality=95)
    text = words([run]).html
    assert len(text.encode()) < LIMIT - 700_000  # what the figures of a run may take
    assert "left out: the page is full" in text
    many = Target("species", "multi-class", tuple(f"species {i:03d}" for i in range(300)))
    text = render([made_run(tmp_path / "many", target=many, groups=400)])
    assert len(text.encode()) < LIMIT
    assert "The 40 most frequent of 300 classes" in text


def test_the_same_run_gives_the_same_bytes(
    run: Run, page: Page, compared: Page, several: list[Run], tmp_path: Path
) -> None:
    assert report([open_run(run.folder)], tmp_path / "b.html").read_bytes() == page.html.encode()
    assert render(several) == compared.html
    assert model_card(run) == model_card(open_run(run.folder))


def test_settings_of_matplotlib_neither_matter_nor_change(run: Run, page: Page) -> None:
    import matplotlib

    with matplotlib.rc_context(
        {"font.size": 30, "axes.grid": False, "svg.fonttype": "path", "xtick.direction": "in"}
    ):
        assert render([run]) == page.html
        assert matplotlib.rcParams["font.size"] == 30


def test_where_the_page_lies(
    run: Run, several: list[Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("graftwork.common.report.page.render", lambda runs: f"{len(runs)}")
    assert report([run]) == run.folder / "report.html"
    assert report([run], tmp_path / "out") == tmp_path / "out" / "report.html"
    assert report(several, tmp_path) == tmp_path / "comparison.html"
    with pytest.raises(UsageError, match="no run"):
        report([])


def test_a_run_without_numbers_says_what_to_do(tmp_path: Path) -> None:
    run = made_run(tmp_path / "r")
    (run.folder / "metrics.json").unlink()
    with pytest.raises(RunError, match="graftwork resume"):
        report([run])


# Leakage and made-up data


def test_no_leak_no_stamp_but_the_proof(page: Page) -> None:
    assert not [stamp for stamp in page.warnings() if "LEAK" in stamp]
    assert "Patients shared between parts: 0 of 150." in page.text
    assert page.rows("Patients shared between parts")[1:] == [
        ["train and validation", "0", "150"], ["train and test", "0", "150"], ["validation and test", "0", "150"],
    ]  # fmt: skip


def test_shared_groups_are_stamped_with_their_number(tmp_path: Path) -> None:
    run = made_run(tmp_path / "r", leak=True)
    parts = pd.DataFrame({"group": run.manifest.frame["group"], "part": run.split.parts})
    shared = int((parts.drop_duplicates().groupby("group").size() > 1).sum())
    assert 0 < shared < 150
    page = words([run])
    said = f"{shared} of 150 patients have images in more than one part: the results are too optimistic"
    assert [stamp for stamp in page.warnings() if said in stamp] and "0 of 150" not in page.text
    both = len(set(parts.group[parts.part == "train"]) & set(parts.group[parts.part == "test"]))
    assert page.rows("Patients shared between parts")[2] == ["train and test", str(both), "150"]
    assert said in model_card(run)
    clean = made_run(tmp_path / "clean", seed=1)
    stamps = words([run, clean]).warnings()
    assert [stamp for stamp in stamps if said in stamp and "seed 0" in stamp and "seed 1" not in stamp]


def test_allowed_leakage_is_stamped_where_none_came_of_it(tmp_path: Path) -> None:
    page = words([made_run(tmp_path / "r", allow_leak=True)])
    (stamp,) = [stamp for stamp in page.warnings() if "LEAK" in stamp]
    assert "--allow-leak" in stamp and "0 of 150 patients" in stamp
    assert "optimistic" not in stamp


def test_synthetic_data_are_stamped_exactly_when_they_are(page: Page, tmp_path: Path) -> None:
    assert [stamp for stamp in page.warnings() if stamp.startswith("SYNTHETIC DATA")]
    real = words([made_run(tmp_path / "r", notes=("Labels come from one reader.",))])
    assert not real.warnings()
    assert dict(real.rows("Licences"))["data"] == "CC BY 4.0"
    assert dict(page.rows("Licences"))["data"].startswith("synthetic")
    assert "Labels come from one reader." in real.text


# What is said


def test_the_headline_and_the_table_say_what_the_evaluation_says(page: Page, run: Run) -> None:
    result = run.evaluation.result("auroc")
    value, limits = f"{result.value:.3f}", f"{result.low:.3f} to {result.high:.3f}"
    assert f"AUROC on the test part {value} 95 % interval {limits}" in page.text
    assert (
        f"{result.n} images ({result.positives} of them positive) of {result.groups} patients." in page.text
    )
    rows = page.rows("All metrics on the test part")
    assert rows[1][:6] == ["AUROC", value, limits, str(result.n), str(result.positives), str(result.groups)]
    assert rows[1][6] == "0.968 [1]"  # Kermany 2018, from the registered protocol
    assert "do not compare them with the published values" in page.text


def test_every_metric_has_an_interval_or_a_reason(tmp_path: Path, page: Page) -> None:
    one_class = words([made_run(tmp_path / "r", test_classes=1, groups=60)])
    for which in (page, one_class):
        head, *rows = which.rows("All metrics on the test part")
        column = head.index("95 % interval")
        assert len(rows) >= 7
        for row in rows:
            assert re.fullmatch(r"[\d.]+ to [\d.]+|n/a: .{10,}", row[column]), row
    undefined = {row[0]: row for row in one_class.rows("All metrics on the test part")}
    assert undefined["AUROC"][1] == "n/a" and undefined["AUROC"][2].startswith("n/a: no positive case")
    assert "nan" not in re.sub(r"data:[^\"]*", "", one_class.html).lower()
    assert "no positive case" in one_class.text


def test_published_values_of_the_publishers_split_are_compared_as_such(tmp_path: Path) -> None:
    real = ("One reader labelled every image.",)
    assert "The split differs" in words([made_run(tmp_path / "own", notes=real)]).text
    page = words([made_run(tmp_path / "r", by="publisher", notes=real)])
    assert "The split differs" not in page.text and "tested on the published test part" in page.text.replace(
        "&#39;", "'"
    )


def test_the_confusion_matrix_counts_at_the_threshold_of_validation(page: Page, run: Run) -> None:
    frame = run.predictions[run.predictions["part"] == "test"]
    called = frame["score_pneumonia"] >= run.evaluation.threshold.value
    sick = frame["target"] == "pneumonia"
    rows = page.rows("Confusion matrix of the test part at the threshold chosen on validation")
    hit, n = int((called & sick).sum()), int(sick.sum())
    assert rows[2][2] == f"{hit} ({100 * hit / n:.1f}\u00a0%)"
    assert rows[1][1].startswith(str(int((~called & ~sick).sum())))


def test_the_parts_are_counted(page: Page, run: Run) -> None:
    rows = {row[0]: row[1:] for row in page.rows("Images, patients and classes of each part")}
    test = run.manifest.frame[run.split.parts == "test"]
    assert rows["images"][2] == str(len(test)) and rows["patients"][2] == str(test["group"].nunique())
    sick = int((test["target"] == "pneumonia").sum())
    assert rows["pneumonia"][2] == f"{sick} ({100 * sick / len(test):.1f}\u00a0%)"


def test_alt_texts_say_what_is_shown(page: Page) -> None:
    alts = [attrs.get("alt") or "" for attrs in page.named("img")]
    assert all(len(alt) > 30 for alt in alts)
    assert [
        alt
        for alt in alts
        if alt.startswith("ROC curve of pneumonia") and "AUROC 0." in alt and "sensitivity" in alt
    ]
    assert [alt for alt in alts if "Trainability of 10 stages over 8 epochs" in alt and "head" in alt]
    assert [alt for alt in alts if "Epoch 6 was chosen" in alt]


def test_headings_are_in_order_and_landmarks_and_captions_are_there(page: Page, compared: Page) -> None:
    for each in (page, compared):
        levels = [int(tag[1]) for tag, _ in each.tags if re.fullmatch("h[1-6]", tag)]
        assert levels[0] == 1 and levels.count(1) == 1
        assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
        assert {"header", "nav", "main", "footer"} <= {tag for tag, _ in each.tags}
        assert each.html.count("<table") == each.html.count("<caption")
        assert each.html.count("<thead") == each.html.count("<table") and 'scope="row"' in each.html
        ids = [attrs["id"] for _, attrs in each.tags if "id" in attrs]
        assert len(ids) == len(set(ids))
        assert all(attrs["href"][1:] in ids for attrs in each.named("a"))


def test_colours_of_text_have_contrast(page: Page) -> None:
    """WCAG 2.1 AA: at least 4.5 for text, in both themes."""
    themes = [
        dict(re.findall(r"--([\w-]+): (#\w{6});", block))
        for block in re.findall(r":root {(.*?)}", page.style, re.DOTALL)
    ]
    light, dark = themes[0], {**themes[0], **themes[1]}
    for theme in (light, dark):
        for front, back in (
            ("ink", "paper"), ("ink", "raised"), ("muted", "paper"), ("muted", "raised"), ("accent", "paper"),
            ("stamp-ink", "stamp"), ("note", "note-paper"), ("ink", "shade-4"),
        ):  # fmt: skip
            assert _contrast(theme[front], theme[back]) >= 4.5, (front, back)
    for paper, colours in (
        (light["paper"], LIGHT.lines),
        (dark["paper"], [_filtered(each) for each in LIGHT.lines]),
    ):
        assert all(_contrast(line, paper) >= 3 for line in colours)  # of graphics: 3


def _filtered(colour: str) -> str:
    """A colour under invert(.9) hue-rotate(180deg), as the Filter Effects module defines them."""
    turn = np.array([[-0.574, 1.430, 0.144], [0.426, 0.430, 0.144], [0.426, 1.430, -0.856]])
    inverted = 0.9 - 0.8 * np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return "#" + "".join(f"{round(255 * value):02x}" for value in (turn @ inverted).clip(0, 1))


def _contrast(first: str, second: str) -> float:
    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return float(np.dot([0.2126, 0.7152, 0.0722], linear))

    high, low = sorted((luminance(first), luminance(second)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_lines_differ_in_more_than_colour() -> None:
    assert len({str(LIGHT.line(i)["linestyle"]) for i in range(8)}) == 8
    assert len({LIGHT.marker(i) for i in range(8)}) == 8


def test_mistakes_fewer_none_or_unreadable(tmp_path: Path) -> None:
    assert (
        "None: the run saved no misclassified image" in words([made_run(tmp_path / "none", mistakes=0)]).text
    )
    few = made_run(tmp_path / "few", mistakes=2)
    (few.folder / "mistakes" / "01.jpg").write_bytes(b"not a picture")
    (few.folder / "mistakes" / "01_cam.jpg").unlink()
    index = few.mistakes
    Image.new("L", (8, 8)).save(few.folder / "elsewhere.jpg")
    index[0]["picture"] = "../elsewhere.jpg"
    as_json(few.folder / "mistakes" / "index.json", index)
    page = words([few])
    assert "The 2 misclassified images of the test part" in page.text
    assert page.text.count("image not saved") == 3
    assert [
        attrs
        for attrs in page.named("img")
        if (attrs["alt"] or "").startswith("Grad-CAM of case0000 for pneumonia")
    ]


def test_examples_of_each_class_come_from_the_test_part(
    run: Run, page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "Examples of each class" not in page.text  # the data of this run cannot be read
    rows: list[int] = []

    def thumbnail(_: object, row: int) -> str:
        rows.append(row)
        return "data:image/jpeg;base64,AAAA"

    monkeypatch.setattr("graftwork.common.report.run.images_section._thumbnail", thumbnail)
    shown = words([run]).section("result")
    alts = [attrs["alt"] or "" for attrs in shown.named("img")]
    assert [alt.rpartition(" ")[2] for alt in alts] == ["normal."] * 3 + ["pneumonia."] * 3
    assert set(run.split.parts.iloc[rows]) == {"test"}


def test_quarantined_files_are_named_and_counted(tmp_path: Path) -> None:
    page = words([made_run(tmp_path / "r", quarantine=60)])
    assert "60 files could not be read" in page.text and "10 more are in quarantine.csv" in page.text
    assert page.rows("Files that could not be read")[1][:2] == ["case0000", "decode"]


def test_limits_come_from_the_card_the_notes_and_the_run(page: Page, tmp_path: Path) -> None:
    assert "Young children from one hospital" in page.text  # the data card of the registered dataset
    assert "One run with one seed" in page.text and "30 patients" in page.text
    assert (
        "No data card of elsewhere/made-up is installed."
        in words([made_run(tmp_path / "r", kind="multi-class")]).text
    )


def test_limits_of_a_card() -> None:
    card = (
        "# A\n\n## Limits and use\n\nOnly **children**, see\n[paper](x).\n\n* one `a_b`\n  goes on\n* two\n\n"
    )
    card += "### More\nyes\n\n## Licence\nno\n"
    assert limits_of(card) == [
        ("text", ["Only children, see paper."]),
        ("list", ["one a_b goes on", "two"]),
        ("text", ["yes"]),
    ]
    assert limits_of("# A\n") == []


def test_the_command_repeats_the_run(tmp_path: Path) -> None:
    from graftwork.common.data import domain

    known = domain.recipe_text("chest_xray/kermany_full")
    run = made_run(tmp_path / "r")
    recipe = load(known[0], overrides=["training.epochs=7", "seed=3"], where="x")
    (run.folder / "recipe.toml").write_text(to_toml(recipe), "utf-8")
    again = open_run(run.folder)
    again.__dict__["split"] = run.split
    assert "graftwork run chest_xray/kermany_full --data DIR seed=3 training.epochs=7" in words([again]).text
    own = made_run(tmp_path / "own", name="my own recipe")
    assert "graftwork run recipe.toml --data DIR" in words([own]).text


@pytest.mark.parametrize("kind", ["multi-class", "multi-label"])
def test_other_kinds_of_target_have_curves_tables_and_cards(kind: str, tmp_path: Path) -> None:
    run = made_run(tmp_path / "r", kind=kind)
    page = Page(render([run]))
    rows = page.rows("All metrics on the test part")
    for name in run.manifest.target.classes:
        escaped = name.replace("<", "&lt;").replace(">", "&gt;")
        assert [row for row in rows if row[:2] == ["AUROC", escaped]]
    assert [attrs for attrs in page.named("img") if (attrs["alt"] or "").startswith("ROC curve of")]
    assert ("Confusion matrix of the test part" in page.text) == (kind == "multi-class")
    assert ("at thresholds chosen on validation" in page.text) == (kind == "multi-label")
    assert yaml.safe_load(model_card(run).split("---")[1])["model-index"]
    words([run, made_run(tmp_path / "s", kind=kind, seed=1)])


def test_unusual_names(tmp_path: Path) -> None:
    long = "x" * 300
    run = made_run(
        tmp_path / f"läufe {'n' * 100}", target=Target("診断", "binary", ("正常 $a_b$", f"肺炎 {long}")),
        case_name=lambda i: f"症例/{long}/ä{i}", title="T" * 200, name=f"my/{long}",
    )  # fmt: skip
    page = Page(render([run]))
    assert long not in re.sub(r"data:[^\"]*", "", page.html).split("<pre")[0]
    assert "正常 $a_b$" in page.text and "肺炎 x" in page.text
    assert any("肺炎" in svg for svg in page.pictures())
    assert yaml.safe_load(model_card(run).split("\n---\n")[0].removeprefix("---\n"))["model-index"]


def test_a_run_of_one_epoch_and_an_old_environment(tmp_path: Path) -> None:
    run = made_run(tmp_path / "r", epochs=1)
    as_json(run.folder / "environment.json", {"recipe": "r", "data": PRIVATE, "graftwork": "0.1.0"})
    page = words([run])
    assert "1 epoch of 1 planned." in page.text and "n/a" in page.text
    (run.folder / "log.jsonl").write_text("")
    assert "has no log" in words([run]).text


# Several runs


def test_the_comparison_lists_every_run_and_the_mean_over_seeds(several: list[Run], compared: Page) -> None:
    page = compared
    rows = page.rows("Runs")
    full = [row for row in rows if row[0] == "kermany_full"]
    assert [row[2] for row in full] == ["0", "1"]
    values = [run.evaluation.result("auroc") for run in several[:2]]
    assert [row[5] for row in full] == [f"{value.value:.3f}" for value in values]
    assert [row[6] for row in full] == [f"{value.low:.3f} to {value.high:.3f}" for value in values]
    (mean,) = [row for row in rows if row[0] == "kermany_full, mean"]
    low, high = sorted(value.value for value in values)
    assert (
        mean[2] == "2 seeds"
        and mean[5] == f"{(low + high) / 2:.3f}"
        and mean[6] == f"range {low:.3f} to {high:.3f}"
    )
    assert not [row for row in rows if row[0] == "kermany_scratch, mean"]
    assert "All 5 runs have the same test cases" in page.text
    assert page.rows("Keys in which the recipes differ")[1] == [
        "strategy.name",
        "full",
        "linear-probe",
        "scratch",
    ]
    alts = [attrs["alt"] or "" for attrs in page.named("img")]
    assert [alt for alt in alts if alt.startswith("AUROC of each run") and "kermany_scratch, seed 0" in alt]
    assert "kermany_full, seeds 0 and 1; kermany_scratch, seed 0" in page.text  # one ledger, drawn once


def test_the_comparison_says_where_test_cases_or_labels_differ(run: Run, tmp_path: Path) -> None:
    other = made_run(tmp_path / "other", groups=120, seed=1)
    assert "The runs have 2 different test sets" in words([run, other]).text
    relabelled = made_run(tmp_path / "labels", seed=1)
    frame = relabelled.predictions
    frame.loc[frame.index[frame["part"] == "test"][0], "target"] = "normal"
    frame.loc[frame.index[frame["part"] == "test"][-1], "target"] = "pneumonia"
    frame["target"] = frame["target"].map({"normal": "pneumonia", "pneumonia": "normal"})
    frame.to_parquet(relabelled.folder / "predictions.parquet")
    assert "same test cases with different labels" in words([run, relabelled]).text
    foreign = made_run(tmp_path / "foreign", target=Target("diagnosis", "binary", ("normal", "pneumonia")))
    assert "different datasets" in words([run, foreign]).text
    with pytest.raises(UsageError, match=r"the runs have different targets.*nevus"):
        render([run, made_run(tmp_path / "other kind", kind="multi-class")])


def test_runs_of_one_name_are_told_apart(tmp_path: Path) -> None:
    runs = [
        made_run(tmp_path / "a" / "0-x"), made_run(tmp_path / "b" / "0-x"),
        made_run(tmp_path / "c" / "0-y", changes=("training.learning_rate=0.01",)),
    ]  # fmt: skip
    rows = words(runs).rows("Runs")
    assert {row[0] for row in rows} >= {
        "kermany_full (learning_rate=0.001)",
        "kermany_full (learning_rate=0.01)",
    }


def test_many_runs_fit_a_page(run: Run) -> None:
    assert len(render([run] * 64).encode()) < LIMIT


# The model card


def test_the_front_matter_is_yaml_with_results_and_blanks(run: Run) -> None:
    card = model_card(run)
    _, front, text = card.split("---\n", 2)
    meta = yaml.safe_load(front)
    assert {"license", "library_name", "tags", "datasets", "metrics", "model-index"} <= set(meta)
    assert meta["datasets"] == ["synthetic"] and meta["synthetic"] is True  # this made-up run says so
    assert "transfer-learning" in meta["tags"]
    (index,) = meta["model-index"]
    result = index["results"][0]
    auroc = run.evaluation.result("auroc")
    assert result["dataset"]["split"] == "test" and result["metrics"][0]["type"] == "roc_auc"
    assert result["metrics"][0]["value"] == pytest.approx(auroc.value, abs=1e-5)
    assert result["metrics"][0]["args"]["interval_95"] == pytest.approx([auroc.low, auroc.high], abs=1e-5)
    assert meta["license_name"].startswith("[TO BE FILLED IN: ")
    assert text.count("[TO BE FILLED IN: ") >= 7
    assert "SYNTHETIC DATA" in text and "Apache-2.0" in text and "CC BY 4.0" in text
    assert f"**{auroc.value:.3f}**" in text and "| AUROC |" in text
    assert "Young children from one hospital" in text


def test_undefined_results_stay_out_of_the_front_matter(tmp_path: Path) -> None:
    card = model_card(made_run(tmp_path / "r", test_classes=1, groups=60))
    metrics = yaml.safe_load(card.split("---\n")[1])["model-index"][0]["results"][0]["metrics"]
    assert "roc_auc" not in [metric["type"] for metric in metrics]
    assert "no positive case" in card.split("---\n", 2)[2]


# Words and numbers


def test_numbers_and_names() -> None:
    assert (
        sentence("n of x") == "N of x."
        and sentence("3 ids") == "3 ids."
        and sentence("pH is low.") == "pH is low."
    )
    assert number(5856) == "5,856" and number(None) == "n/a" and number(float("nan")) == "n/a"
    assert score(0.96849) == "0.968" and score(-0.0001) == "0.000" and score(-0.5) == "−0.500"
    assert score(float("nan")) == "n/a" and interval(0.1, float("nan")) == ""
    assert count(1, "patient") == "1 patient" and count(2431, "study") == "2,431 studies"
    assert [plural(word) for word in ("epoch", "series", "class", "batch", "day")] == [
        "epochs",
        "series",
        "classes",
        "batches",
        "days",
    ]
    assert [duration(value) for value in (0.84, 45, 192.3, 7500, None)] == [
        "0.8 s",
        "45 s",
        "3 min 12 s",
        "2 h 05 min",
        "n/a",
    ]
    assert [rate(value) for value in (0.0, 0.003, 1e-3, 2.5e-5, 1e-4)] == [
        "0",
        "0.003",
        "0.001",
        "2.5 × 10⁻⁵",
        "1 × 10⁻⁴",
    ]
