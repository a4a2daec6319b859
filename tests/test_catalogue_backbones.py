"""Backbones by name: the table that `ls` shows is true, and `show` tells the stages of any network."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from small_runs import recipe_file, small_weights, synthetic_data

from graftwork.common.architectures import FAMILIES
from graftwork.common.backbones import create_backbone
from graftwork.common.costs import multiply_adds
from graftwork.common.errors import UsageError
from graftwork.common.verbs import ls, run, show
from graftwork.common.weights import WeightsRecord

TABLE = Path(__file__).resolve().parent.parent / "common" / "families.csv"


def rows() -> dict[str, dict[str, str]]:
    with TABLE.open(encoding="utf-8", newline="") as file:
        return {row["name"]: row for row in csv.DictReader(file)}


def test_the_table_lists_every_member_of_every_family() -> None:
    assert {name: row["family"] for name, row in rows().items()} == {
        name: family for family, members in FAMILIES.items() for name in members
    }
    listed = {entry.name: entry for entry in ls("backbones")}
    assert set(listed) == {f"backbone/{name}" for name in rows()}
    assert listed["backbone/tf_efficientnet_lite0"].about == "here, package"
    assert (
        "3.4 M parameters, 0.38 G multiply-adds at 224 px" in listed["backbone/tf_efficientnet_lite0"].title
    )


@pytest.mark.parametrize("name", ["resnet18", "tf_efficientnet_lite0", "mobilenetv3_small_100"])
def test_the_table_is_what_the_networks_are(name: str) -> None:
    row, backbone = rows()[name], create_backbone(name, weights=None, seed=0)
    assert int(row["parameters"]) == sum(each.numel() for each in backbone.parameters())
    assert int(row["multiply_adds"]) == sum(multiply_adds(backbone, backbone.input_size).values())
    found = (int(row["size"]), int(row["width"]), int(row["stages"]))
    assert found == (backbone.input_size, backbone.width, len(backbone.stages))


def test_show_tells_stages_costs_and_where_weights_are() -> None:
    text = show("backbone/tf_efficientnet_lite0").text
    assert "- parameters: 3,371,008" in text and "| conv_head | 412,160 | 12.2% |" in text
    assert "here, package" in text and "Apache-2.0" in text and "timm/tf_efficientnet_lite0" in text
    assert "multiples of its patches" in show("backbone/vit_tiny_patch16_224").text
    with pytest.raises(UsageError, match="resnet18"):
        show("backbone/resnet81")


def test_weights_that_saw_the_data_say_so() -> None:
    told = WeightsRecord(
        "resnet18", "file", "mine.safetensors", trained_on="ISIC 2019 and more", seen=("a-b 1",)
    )
    assert "trained on ISIC-2019" in told.overlap(["plain", "ISIC-2019"])
    assert told.overlap(["AB1"]) and not told.overlap(["plain", "", "isic 2020"])


def test_a_run_on_data_that_its_weights_saw_says_so_across_its_report(tmp_path: Path) -> None:
    weights, data = small_weights(tmp_path / "w"), synthetic_data(tmp_path / "set", cases=40)
    card = weights.with_suffix(".json")
    words = ["strategy.name=full", f"backbone.file={weights}", "training.epochs=1"]
    clean = run(recipe_file(tmp_path), data, tmp_path / "clean", words).report.read_text("utf-8")
    assert "SEEN BEFORE" not in clean
    card.write_text(json.dumps({**json.loads(card.read_text()), "seen": ["Kermany 2018"]}))
    page = run(recipe_file(tmp_path), data, tmp_path / "seen", words).report.read_text("utf-8")
    assert "SEEN BEFORE: the pretrained weights" in page and "trained on kermany" in page
