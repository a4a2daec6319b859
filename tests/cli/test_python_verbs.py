"""Every command is a function of `graftwork` with the same arguments, and its result has the command."""

from __future__ import annotations

import inspect
import json
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import typer
from read_pages import Page

import graftwork
from graftwork.cli import app, main
from graftwork.common.errors import GraftworkError, UsageError
from graftwork.common.evaluation.tables.reading_options import ReadingOptions
from graftwork.common.report.commands import command_of, listed

# Arguments of only the command line or only the function, each with its reason.
ONLY_COMMAND = {"as_json": "a function returns its result", "context": "belongs to Typer"}
ONLY_FUNCTION = {"progress": "the command line draws a bar"}
# Where the two names differ, each with its reason.
REFUSED = {("calibrate", "ranks"): "ranks cannot be scaled to probabilities"}
OTHER_NAMES = {("find-lr", "--from"): "low", ("find-lr", "--to"): "high"}  # `from` is a word of Python


def commands() -> Iterator[tuple[str, Any, Callable[..., Any]]]:
    found: Any = typer.main.get_command(app)
    for name, command in found.commands.items():
        if name == "weights":
            for inner, each in command.commands.items():
                yield f"weights {inner}", each, getattr(graftwork.weights, inner)
        else:
            yield name, command, getattr(graftwork, name.replace("-", "_"))


def test_a_function_has_the_arguments_of_its_command() -> None:
    visited = 0
    for name, command, function in commands():
        parameters = dict(inspect.signature(function).parameters)
        if "reading" in parameters:
            del parameters["reading"]
            parameters |= {
                each: inspect.Parameter(each, inspect.Parameter.KEYWORD_ONLY)
                for each in ReadingOptions.__annotations__
            }
        theirs: dict[str, Any] = {}
        for each in command.params:
            if each.param_type_name == "argument":
                theirs[each.name] = each
            elif each.name not in ("help", *ONLY_COMMAND):
                option = max(each.opts, key=len)
                theirs[OTHER_NAMES.get((name, option), option.removeprefix("--").replace("-", "_"))] = each
        refused = {each for verb, each in REFUSED if verb == name}
        assert set(theirs) == set(parameters) - set(ONLY_FUNCTION) - refused, name
        for own, each in theirs.items():
            default = parameters[own].default
            if (
                own in ReadingOptions.__annotations__
                or default is inspect.Parameter.empty
                or callable(each.default)
            ):
                continue
            plain = str(default) if isinstance(default, Path) else default
            assert each.default in (plain, None, "") or str(each.default) == str(plain), f"{name} {own}"
            if each.default not in (None, "", [], ()):
                assert plain == each.default or str(plain) == str(each.default), f"{name} {own}"
        visited += 1
    assert visited >= 18


def test_all_public_names_are_there() -> None:
    for name in graftwork.__all__:
        assert getattr(graftwork, name) is not None
    asked = {"evaluate", "calibrate", "compare", "select", "find_lr", "regrid", "schema", "weights"}
    assert asked <= set(dir(graftwork))
    with pytest.raises(AttributeError, match=r"graftwork\.find_rate is now graftwork\.find_lr"):
        graftwork.find_rate  # noqa: B018
    assert graftwork.schema()["type"] == "object"
    assert [each.name for each in graftwork.weights.ls()] == [each.name for each in graftwork.ls("weights")]
    with pytest.raises(AttributeError, match="attribute nothing"):
        graftwork.nothing  # noqa: B018


@pytest.fixture
def scores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pd.DataFrame:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, 80)
    frame = pd.DataFrame(
        {"case": [f"c{n}" for n in range(80)], "Patient ID": [f"p{n // 2}" for n in range(80)], "target": truth,
         "score": np.clip(0.4 * truth + 0.6 * rng.random(80), 0, 1), "sex": np.where(np.arange(80) % 4 < 2, "f", "m")}
    )  # fmt: skip
    frame.to_csv("my preds.csv", index=False)
    frame.assign(score=rng.random(80)).to_csv("other.csv", index=False)
    rest = frame.assign(case=frame["case"] + "x", **{"Patient ID": frame["Patient ID"] + "x"})
    rest.assign(score=np.clip(rest["score"] * 0.99, 0, 1)).to_csv("rest.csv", index=False)
    return frame


def test_evaluate_takes_the_same_options_as_the_command(
    scores: pd.DataFrame, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = {"protocol": "isic2020", "group": "Patient ID", "threshold": 0.5, "bootstrap": 20}
    found = graftwork.evaluate("my preds.csv", by="sex", also="accuracy", **asked)  # type: ignore[arg-type]
    assert found == graftwork.evaluate_file("my preds.csv", by=["sex"], also=["accuracy"], **asked)  # type: ignore[arg-type]
    assert [each.covariate for each in found.subgroups] == ["sex"]  # one name, not its letters
    words = ["--protocol", "isic2020", "--group", "Patient ID", "--threshold", "0.5", "--bootstrap", "20"]
    with pytest.raises(SystemExit):
        main(["evaluate", "my preds.csv", *words, "--by", "sex", "--also", "accuracy", "--json"])
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(found.to_json()))
    decided = scores.assign(m=(scores["score"] > 0.5).astype(int), r1=scores["target"], r2=1, r3=0)
    decided.to_csv("readings.csv", index=False)
    among = graftwork.evaluate("readers", "readings.csv", model="m", readers="r1,r2,r3", bootstrap=20)
    assert among == graftwork.evaluate_readers("readings.csv", "m", ["r1", "r2", "r3"], bootstrap=20)
    assert among.names == ("m", "r1", "r2", "r3")


@pytest.mark.parametrize(
    ("what", "options", "message"),
    [
        ("my preds.csv", {}, "evaluated by a protocol, and none is named"),
        (
            "my preds.csv",
            {"protocol": "isic2020", "groups": "g.csv"},
            "--groups would do nothing for a table",
        ),
        ("runs/a", {"by": "sex"}, "--by would do nothing for a run"),
        ("seg", {"truth": "t"}, "two folders and a protocol are needed"),
        (
            "boxes",
            {"truth": "t", "predicted": "p", "protocol": "coco-boxes", "ranks": True},
            "--ranks would do nothing",
        ),
        ("readers", {"model": "m"}, "a table, a model and readers are needed"),
    ],
)
def test_evaluate_refuses_idle_and_missing_options(
    scores: pd.DataFrame, what: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        graftwork.evaluate(what, **options)


def run_again(command: str, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """The JSON output of a command."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main([*shlex.split(command)[1:], "--json"])
    assert ended.value.code == 0
    text: dict[str, Any] = json.loads(capsys.readouterr().out)
    return text


def test_a_report_has_the_command_that_gives_its_numbers(
    scores: pd.DataFrame, capsys: pytest.CaptureFixture[str]
) -> None:
    """With all options, quoted. Run again, it gives the same numbers."""
    asked = {"protocol": "isic2020", "group": "Patient ID", "bootstrap": 20}
    fitted = graftwork.calibrate(
        "my preds.csv", out="cal.json", protocol="isic2020", group="Patient ID", aim=0.9
    )
    found = graftwork.evaluate(
        "rest.csv",
        by=["sex"],
        also=["accuracy"],
        seed=3,
        only_predicted=False,
        calibration="cal.json",
        report="a.html",
        **asked,
    )  # type: ignore[arg-type]
    first, second = found.evaluation.command.splitlines()
    assert (
        first
        == fitted.command
        == (
            "graftwork calibrate 'my preds.csv' --protocol isic2020 --out cal.json --group 'Patient ID' --aim 0.9"
        )
    )
    page = Page(Path("a.html").read_text("utf-8"))
    assert first in page.text and second in page.text
    again = run_again(second, capsys)
    assert again["results"] == json.loads(json.dumps(found.to_json()))["results"] and again[
        "command"
    ].endswith(second)
    both = graftwork.compare("my preds.csv", "other.csv", threshold=0.5, report="b.html", **asked)  # type: ignore[arg-type]
    assert both.command in Page(Path("b.html").read_text("utf-8")).text
    assert run_again(both.command, capsys)["compared"][0]["first"] == both.compared[0].first


def test_a_command_is_quoted_and_has_no_absolute_path() -> None:
    def verb(table: str, protocol: str, *, low: float = 1.0, names: Any = (), flag: bool = False, out: Any = None,
             n: int = 0, progress: Any = None, **more: Any) -> None: ...  # fmt: skip

    def text(**given: Any) -> str:
        return command_of("do it", verb, {"table": "t.csv", "protocol": "p", "more": {}, **given}, ["table"])

    assert text() == "graftwork do it t.csv --protocol p"
    assert (
        text(names=["a b", "c"], flag=True, n=3)
        == "graftwork do it t.csv --protocol p --names 'a b,c' --flag --n 3"
    )
    assert (
        text(low=0.5, out=Path("/home/somebody/x y.csv"))
        == "graftwork do it t.csv --protocol p --from 0.5 --out 'x y.csv'"
    )
    assert (
        text(more={"score": "P(=1)"}, progress=print) == "graftwork do it t.csv --protocol p --score 'P(=1)'"
    )
    assert text(n=0, out=Path("a/b.csv")) == "graftwork do it t.csv --protocol p --out a/b.csv"
    assert text(table=pd.DataFrame()) == "graftwork do it TABLE --protocol p"
    assert listed("a, b,") == listed(["a", " b "]) == ("a", "b") and listed("sex") == ("sex",)


def test_results_have_a_table_view_in_a_notebook(scores: pd.DataFrame) -> None:
    asked = {"protocol": "isic2020", "threshold": 0.5, "bootstrap": 20}
    for found, text in (
        (graftwork.evaluate("my preds.csv", **asked), "auroc"),  # type: ignore[arg-type]
        (graftwork.compare("my preds.csv", "other.csv", **asked), "difference"),  # type: ignore[arg-type]
    ):
        shown = Page(found._repr_html_())
        assert text in shown.text and "isic2020" in shown.text


def test_a_single_name_is_one_name_not_its_letters(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from graftwork.common import catalogue
    from graftwork.common.prediction import folder_prediction

    recipe = graftwork.ls("recipes")[0].name
    assert catalogue.find_recipe(recipe, "seed=7")[1].seed == 7
    seen: list[Any] = []
    monkeypatch.setattr(folder_prediction, "predict", lambda *_, **options: seen.append(options["exclude"]))
    graftwork.predict("r", "f", "o.csv", exclude="thumbnails")
    assert seen == [["thumbnails"]]
    with pytest.raises(GraftworkError, match="r/one: not the folder of a run"):
        graftwork.report("r/one")
    with pytest.raises(GraftworkError, match="resnet_no_such"):
        graftwork.weights.pack(tmp_path / "w.tar", "resnet_no_such")
