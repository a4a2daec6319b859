"""Backbones by name: the table that `ls` shows is true, and `show` tells the stages of any network."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest
from small_runs import recipe_file, small_weights, synthetic_data

from graftwork.cli import main
from graftwork.common.errors import UsageError
from graftwork.common.networks.architectures import FAMILIES
from graftwork.common.networks.backbones import create_backbone
from graftwork.common.networks.costs import multiply_adds
from graftwork.common.networks.weights import WeightsRecord
from graftwork.common.verbs import BackboneEntry, ls, run, show

TABLE = Path(__file__).resolve().parents[2] / "common" / "networks" / "families.csv"


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
    assert "available, package" in text and "Apache-2.0" in text and "timm/tf_efficientnet_lite0" in text
    about = show("backbone/tf_efficientnet_lite0").about
    assert about["parameters"] == sum(each["parameters"] for each in about["stages"]) == 3371008
    assert about["multiply_adds"] == sum(each["multiply_adds"] for each in about["stages"])
    assert about["weights"][0]["source"] == "package" and about["sizes"] == "any from 16 px"
    assert "multiples of 16 px" in show("backbone/vit_tiny_patch16_224").text
    assert (
        "none on this machine; you can use your own safetensors file" in show("backbone/squeezenet1_1").text
    )
    assert "none on this machine" not in text
    with pytest.raises(UsageError, match="resnet18"):
        show("backbone/resnet81")


def test_weights_that_are_here_are_told_by_where_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = tmp_path / "hub" / "models--timm--resnet18.a1_in1k" / "snapshots" / "0123"
    snapshot.mkdir(parents=True)
    (snapshot / "model.safetensors").write_bytes(b"")
    (snapshot.parent.parent / "refs").mkdir()
    (snapshot.parent.parent / "refs" / "main").write_text("0123")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.file_download.HF_HUB_CACHE", str(tmp_path / "hub"), raising=False)
    monkeypatch.setenv("GRAFTWORK_WEIGHTS", str(tmp_path / "weights"))
    small_weights(tmp_path / "weights", "mobilenetv3_small_100")
    listed = {entry.name: entry for entry in ls("backbones")}
    for name, weights, about in (
        ("resnet18", ("hub cache", "hub"), "here, hub cache"),
        ("mobilenetv3_small_100", ("file", "hub"), "here, file"),
        ("tf_efficientnet_lite0", ("package", "hub"), "here, package"),
        ("densenet121", ("hub",), "from the hub"),
        ("squeezenet1_1", (), "your own file"),
    ):
        entry = listed[f"backbone/{name}"]
        assert isinstance(entry, BackboneEntry) and (entry.weights, entry.about) == (weights, about), name
    assert "available, in the hub cache" in show("backbone/resnet18").text
    assert show("backbone/resnet18").about["hub_cache"] is True


def test_the_table_is_shown_and_written_as_json_without_a_network_being_built(
    capsys: pytest.CaptureFixture[str],
) -> None:
    program = (
        "import sys; from graftwork.cli import main\n"
        "try: main(['ls', 'backbones', '--json'])\n"
        "except SystemExit: pass\n"
        "assert not {'torch', 'timm'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    told = {each["name"]: each for each in json.loads(done.stdout)}
    assert told["backbone/vgg16"]["figures"]["width"] == 4096
    assert told["backbone/vit_small_patch16_dinov3"]["licence"] == "dinov3-license"
    with pytest.raises(SystemExit):
        main(["ls", "backbones"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(told) + 1
    assert lines[0].split() == [
        "backbones",
        "family",
        "parameters",
        "multiply-adds",
        "size",
        "licence",
        "weights",
    ]
    assert any(line.split()[:3] == ["backbone/resnet50", "ResNet", "23.5"] for line in lines)


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
    assert "DATA SEEN IN PRETRAINING" not in clean
    card.write_text(json.dumps({**json.loads(card.read_text()), "seen": ["Kermany 2018"]}))
    page = run(recipe_file(tmp_path), data, tmp_path / "seen", words).report.read_text("utf-8")
    assert "DATA SEEN IN PRETRAINING: the pretrained weights" in page and "trained on kermany" in page
