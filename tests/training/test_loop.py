"""The loop: rates, accumulation, early stopping, the best epoch, and errors that say what to do."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from small_runs import recipe_file, synthetic_data

from graftwork.common.data.targets import Target
from graftwork.common.errors import RunError, UsageError
from graftwork.common.loading.target_encoding import class_weights, encode, losses, outputs, probabilities
from graftwork.common.recipe.sections import TrainingSection
from graftwork.common.runs.run_folder import open_run
from graftwork.common.runs.training_state import State
from graftwork.common.training.loop import Loop
from graftwork.common.training.losses import loss_for
from graftwork.common.training.optimizer import rate_at
from graftwork.common.verbs import report, run


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthetic_data(tmp_path_factory.mktemp("data") / "set", cases=40)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return recipe_file(tmp_path_factory.mktemp("recipe"))


def test_the_rate_rises_linearly_and_falls_as_a_cosine() -> None:
    settings = TrainingSection(learning_rate=1.0, epochs=4, warmup=1.0)
    steps = [rate_at(settings, step / 4, 1 / 4) for step in range(16)]
    assert steps[:4] == [0.25, 0.5, 0.75, 1.0]
    assert steps[4] == 1.0
    assert steps[10] == pytest.approx(0.5)
    assert steps == sorted(steps[:4]) + sorted(steps[4:], reverse=True)
    assert 0 < steps[-1] < 0.1
    constant = TrainingSection(learning_rate=0.3, epochs=4, schedule="constant")
    assert {rate_at(constant, at / 4, 1 / 4) for at in range(16)} == {0.3}


def test_accumulated_parts_are_the_same_step(recipe: Path, data: Path, tmp_path: Path) -> None:
    # layer norm and no dropout: what a part of a batch gives does not depend on the rest of it
    words = ["backbone.name=test_vit", "image.size=160", "training.dropout=0", "training.learning_rate=0.001"]
    whole = open_run(run(recipe, data, tmp_path / "whole", words).folder)
    parts = open_run(run(recipe, data, tmp_path / "parts", [*words, "training.accumulation_steps=4"]).folder)
    for one, two in zip(whole.log, parts.log, strict=True):
        assert one["train_loss"] == pytest.approx(two["train_loss"], abs=1e-5)
        assert one["steps"] == two["steps"]


def test_the_best_epoch_is_kept_and_patience_ends_a_run(recipe: Path, data: Path, tmp_path: Path) -> None:
    done = open_run(run(recipe, data, tmp_path, ["training.patience=2", "training.epochs=40"]).folder)
    values = [line["validation"]["auroc"] for line in done.log]
    best = int(np.argmax(values)) + 1  # the first of equals
    assert len(values) == best + 2 < 40
    assert [line["best"] for line in done.log][best - 1]
    for which, epoch in (("best", best), ("last", best + 2)):
        state = json.loads((done.folder / which / "state.json").read_text())
        assert state["epoch"] == epoch + 1
        assert state["best_epoch"] == best


def test_each_epoch_says_what_it_waited_for(recipe: Path, data: Path, tmp_path: Path) -> None:
    done = open_run(run(recipe, data, tmp_path, ["training.epochs=1"]).folder)
    (line,) = done.log
    assert 0 < line["data_wait"] < 1
    assert line["images_per_second"] > 0
    assert line["epoch"] == 1


def test_the_logged_loss_is_the_mean_of_a_case(recipe: Path, data: Path, tmp_path: Path) -> None:
    # a new head gives both classes about the same score, and at this rate nothing is learned
    words = ["training.epochs=1", "training.learning_rate=1e-9", "training.batch_size=7"]
    (line,) = open_run(run(recipe, data, tmp_path, words).folder).log
    assert line["train_loss"] == pytest.approx(math.log(2), abs=0.03)
    assert line["validation_loss"] == pytest.approx(math.log(2), abs=0.03)


def test_the_ledger_says_what_learned(recipe: Path, data: Path, tmp_path: Path) -> None:
    words = ["training.epochs=2", "strategy.name=linear-probe", "backbone.name=tf_efficientnet_lite0"]
    done = open_run(run(recipe, data, tmp_path, words).folder)
    ledger = done.ledger
    assert len(ledger) == 2 * (len(done.network["stages"]))
    frozen = ledger[ledger["stage"] != "head"]
    assert (frozen["learning"] == 0).all()
    assert (frozen["rate"] == 0).all()
    assert set(frozen["norm"]) == {"hold"}
    head = ledger[ledger["stage"] == "head"]
    assert (head["learning"] == head["parameters"]).all()
    assert ledger["parameters"].sum() == 2 * done.network["parameters"]


def test_a_loss_that_is_not_finite_ends_the_run_with_advice(recipe: Path, data: Path, tmp_path: Path) -> None:
    words = [
        "training.learning_rate=100",
        "training.schedule=constant",
        "training.epochs=60",
        "training.weight_decay=90",
    ]
    with pytest.raises(RunError, match="epoch") as caught:
        run(recipe, data, tmp_path, words)
    assert "training.learning_rate" in str(caught.value)


def test_damaged_test_pictures_are_met_before_training(recipe: Path, tmp_path: Path) -> None:
    data = synthetic_data(tmp_path / "set", cases=40)
    done = open_run(run(recipe, data, tmp_path / "first", ["training.epochs=1"]).folder)
    victims = [done.manifest.file(int(row)) for row in done.split.rows("test")[:2]]
    for victim in victims:
        victim.write_bytes(b"no image")
    with pytest.raises(RunError, match="2 images cannot be read") as caught:
        run(recipe, data, tmp_path / "second", ["training.epochs=1"])
    assert all(victim.name in str(caught.value) for victim in victims)
    (folder,) = (tmp_path / "second" / "small").iterdir()
    assert not (folder / "last").exists()


@pytest.mark.parametrize(("cases", "processes", "parts"), [(8, 1, 4), (3, 1, 3), (1, 1, 1), (5, 2, 3)])
def test_a_batch_of_fewer_cases_than_parts_has_as_many_parts_as_cases(
    cases: int, processes: int, parts: int
) -> None:
    loop = object.__new__(Loop)
    loop.settings, loop.state = TrainingSection(batch_size=8, accumulation_steps=4), State()
    loop.accelerator = SimpleNamespace(num_processes=processes, process_index=0)  # type: ignore[assignment]
    found = loop.parts(np.arange(cases))
    assert len(found) == parts
    assert np.concatenate(found).tolist() == list(range(0, cases, processes))
    loop.accelerator.num_processes = cases + 1  # type: ignore[misc]
    with pytest.raises(UsageError, match="cannot be shared"):
        loop.parts(np.arange(cases))


def test_a_batch_too_small_for_batch_norm_is_refused(recipe: Path, data: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="batch norm cannot learn"):
        run(recipe, data, tmp_path, ["training.batch_size=1", "training.epochs=1"])


def test_a_run_named_twice_counts_once(recipe: Path, data: Path, tmp_path: Path) -> None:
    done = run(recipe, data, tmp_path, ["training.epochs=1"])
    assert report([done.folder, done.folder / ".." / done.folder.name]) == done.report
    other = run(recipe, data, tmp_path, ["training.epochs=1", "seed=9"])
    page = report([done.folder, other.folder, done.folder], tmp_path / "both.html").read_text("utf-8")
    assert "2 runs" in page


def test_two_runs_in_one_process_do_not_disturb_each_other(recipe: Path, data: Path, tmp_path: Path) -> None:
    first = run(recipe, data, tmp_path / "a", ["training.epochs=1"]).folder
    torch.manual_seed(123)
    run(recipe, data, tmp_path / "b", ["training.epochs=1", "seed=9"])
    again = run(recipe, data, tmp_path / "c", ["training.epochs=1"]).folder
    name = "best/model.safetensors"
    assert (first / name).read_bytes() == (again / name).read_bytes()


# what is minimised ------------------------------------------------------------------------------------------


def test_unknown_labels_weigh_nothing() -> None:
    classes = Target("t", "multi-class", ("a", "b", "c"))
    logits = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    found = losses([classes], logits, torch.tensor([0, -1, 2, -1]))
    assert found[1] == found[3] == 0
    assert found[0] == pytest.approx(-math.log(logits.softmax(1)[0, 0]), abs=1e-6)
    labels = Target("t", "multi-label", ("a", "b"))
    truth = torch.tensor([[1.0, math.nan], [math.nan, math.nan]])
    found = losses([labels], torch.tensor([[0.0, 9.0], [5.0, 5.0]]), truth)
    assert found.tolist() == pytest.approx([math.log(2), 0.0])
    assert not torch.isnan(found).any()


def test_scores_sum_to_one_or_stand_alone() -> None:
    logits = torch.randn(5, 2, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(probabilities([Target("t", "binary", ("n", "y"))], logits).sum(1), torch.ones(5))
    assert torch.allclose(probabilities([Target("t", "multi-label", ("n", "y"))], logits), logits.sigmoid())


def test_balanced_weights_give_each_class_the_same_say() -> None:
    target = Target("t", "multi-class", ("a", "b", "c"))
    truth = np.array([0] * 6 + [1] * 2 + [-1])
    (weights,) = class_weights([target], truth)
    assert weights.tolist() == pytest.approx([8 / 12, 2.0, 0.0])
    (labels,) = class_weights(
        [Target("t", "multi-label", ("a",))], np.array([[1.0], [0.0], [0.0], [math.nan]])
    )
    assert labels.tolist() == [2.0]
    minimise = loss_for([target], TrainingSection(class_weights="balanced"), truth, torch.device("cpu"))
    logits = torch.zeros(2, 3)
    each = minimise(logits, torch.tensor([0, 1]))
    assert (each[1] / each[0]).item() == pytest.approx(3.0)


def test_targets_are_encoded_in_the_order_of_the_classes() -> None:
    import pandas as pd

    frame = pd.DataFrame({"target": ["yes", None, "no"]})
    assert encode([Target("t", "binary", ("no", "yes"))], frame).tolist() == [1, -1, 0]


BINS = Target("count", "ordinal", ("1", "2", "3", "more"), prefix="count_")
KINDS = Target("kind", "multi-class", ("a", "b", "c"))
LABELS = Target("marks", "multi-label", ("x", "y"), prefix="mark_")


def test_an_ordinal_target_asks_whether_it_is_more_than_each_class() -> None:
    logits = torch.tensor([[0.3, -0.4, 1.1], [2.0, 0.0, -2.0], [0.0, 0.0, 0.0]], dtype=torch.float64)
    found = losses([BINS], logits, torch.tensor([2, 0, -1]))
    more = logits.sigmoid()
    first = (
        -(more[0, 0].log() + more[0, 1].log() + (1 - more[0, 2]).log()) / 3
    )  # class 2 is more than 0 and 1
    second = -(1 - more[1]).log().sum() / 3
    assert found.tolist() == pytest.approx([float(first), float(second), 0.0])
    weights = [torch.tensor([3.0, 1.0, 0.5, 1.0], dtype=torch.float64)]
    weighed = losses([BINS], logits, torch.tensor([2, 0, -1]), weights=weights)
    assert weighed.tolist() == pytest.approx([0.5 * float(first), 3 * float(second), 0.0])


def test_ordinal_scores_sum_to_one_though_the_answers_contradict_each_other() -> None:
    logits = torch.randn(200, 3, generator=torch.Generator().manual_seed(0)).double() * 5
    scores = probabilities([BINS], logits)
    assert scores.shape == (200, 4)
    assert (scores >= 0).all()
    assert torch.allclose(scores.sum(1), torch.ones(200, dtype=torch.float64))
    assert torch.allclose(scores[:, 0], 1 - logits.sigmoid()[:, 0])
    agreed = torch.tensor([[3.0, 0.0, -3.0]], dtype=torch.float64)
    assert probabilities([BINS], agreed)[0, 1] == pytest.approx(float(agreed[0, 0].sigmoid() - 0.5))


def test_several_targets_lie_side_by_side() -> None:
    import pandas as pd

    targets = (KINDS, BINS, LABELS)
    frame = pd.DataFrame(
        {
            "target": ["b", None], "count_target": ["more", "1"],
            "mark_target_x": [1.0, math.nan], "mark_target_y": [0.0, 1.0],
        }
    )  # fmt: skip
    truth = encode(targets, frame)
    np.testing.assert_array_equal(truth, np.array([[1, 3, 1, 0], [np.nan, 0, np.nan, 1]], np.float32))
    logits = torch.randn(2, outputs(targets), generator=torch.Generator().manual_seed(1))
    assert logits.shape == (2, 3 + 3 + 2)
    parts, at = [], 0
    for target in targets:
        alone = torch.from_numpy(encode([target], frame))
        parts.append(losses([target], logits[:, at : at + target.outputs], alone, smoothing=0.1))
        at += target.outputs
    assert torch.allclose(
        losses(targets, logits, torch.from_numpy(truth), smoothing=0.1), sum(parts) / len(targets)
    )
    assert parts[0][1] == 0  # unknown
    scores = probabilities(targets, logits)
    assert scores.shape[1] == sum(len(target.scores) for target in targets)
    assert torch.allclose(scores[:, 3:7], probabilities([BINS], logits[:, 3:6]))
    weights = class_weights(targets, truth)
    assert [len(each) for each in weights] == [3, 4, 2]
    assert weights[1].tolist() == pytest.approx([1.0, 0.0, 0.0, 1.0])


def test_a_table_of_predictions_holds_every_target(tmp_path: Path) -> None:
    import pandas as pd

    from graftwork.common.data.manifest import Manifest
    from graftwork.common.training.inference import prediction_table

    frame = pd.DataFrame(
        {
            "case": ["p", "q"], "path": ["p.png", "q.png"], "group": ["g", "g"],
            "target": ["a", "c"], "count_target": ["1", None], "event": ["e", "e"],
        }
    )  # fmt: skip
    manifest = Manifest(frame, tmp_path, "x/y", "place", KINDS, ("event",), further=(BINS,), unit="event")
    logits = np.array([[1, 2, 3, 0, 0, 0], [np.nan] * 6], np.float32)
    table = prediction_table(manifest, np.arange(2), np.array(["test", "test"]), logits)
    assert list(table) == [
        "case", "group", "part", "path", "target", "count_target", *KINDS.scores, *BINS.scores, "event",
    ]  # fmt: skip
    assert len(table) == 1  # of the other the image could not be read
    assert table[list(BINS.scores)].to_numpy() == pytest.approx(np.array([[0.5, 0, 0, 0.5]]))
