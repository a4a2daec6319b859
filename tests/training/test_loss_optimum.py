"""Where the loss is lowest: for each pair of training keys that change it, against the optimum by theory."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor

from graftwork.common.data.targets import Target
from graftwork.common.errors import RecipeError, UsageError
from graftwork.common.loading.batches import epoch_plan
from graftwork.common.loading.target_encoding import class_weights, outputs
from graftwork.common.networks.head_solver import solve
from graftwork.common.networks.heads import LinearHead
from graftwork.common.recipe import load
from graftwork.common.recipe.sections import TrainingSection
from graftwork.common.recipe.unused_keys import refuse_idle_keys
from graftwork.common.training.losses import dice_loss, loss_for
from graftwork.common.training.mixup import Mixing

CPU = torch.device("cpu")
BINARY = Target("t", "binary", ("no", "yes"))
CLASSES = Target("t", "multi-class", ("a", "b", "c"))
ORDINAL = Target("t", "ordinal", ("0", "1", "2", "3"))
LABELS = Target("t", "multi-label", ("x", "y"))
SECOND = Target("u", "ordinal", ("few", "some", "many"), prefix="u_")
MARKS = Target("v", "multi-label", ("x", "y"), prefix="v_")
KINDS = {
    "binary": (BINARY,), "multi-class": (CLASSES,), "ordinal": (ORDINAL,), "multi-label": (LABELS,),
    "several": (CLASSES, SECOND, MARKS),
}  # fmt: skip
KEYS = ("class_weights", "label_smoothing", "mixed", "unknown", "sampling")


def _truth(targets: tuple[Target, ...], unknown: bool) -> np.ndarray:
    """40 cases, of which class 0 (of labels: no) is by far the commonest."""
    draw, columns = np.random.default_rng(3), []
    for target in targets:
        wide, n = target.kind == "multi-label", len(target.classes)
        chance = [0.8, 0.2] if wide else [0.7, *[0.3 / (n - 1)] * (n - 1)]
        for _ in range(n if wide else 1):
            drawn = draw.choice(len(chance), 40, p=chance).astype(np.float32)
            drawn[: len(chance)] = np.arange(len(chance))  # each is there
            if unknown:
                drawn[draw.random(40) < 0.2] = np.nan
            columns.append(drawn)
    table = np.stack(columns, axis=1)
    if len(targets) > 1 or targets[0].kind == "multi-label":
        return table
    return np.nan_to_num(table[:, 0], nan=-1).astype(np.int64)


def _soft(targets: tuple[Target, ...], row: np.ndarray, smoothing: float) -> list[list[float] | None]:
    """Of each question (a softmax over classes, or a sigmoid) what the smoothed label wants; None: unknown."""
    found: list[list[float] | None] = []
    column = 0
    for target in targets:
        n = len(target.classes)
        wide = target.kind == "multi-label"
        own = row[column : column + (n if wide else 1)]
        column += len(own)
        if wide:
            found += [None if np.isnan(y) else [y * (1 - smoothing) + smoothing / 2] for y in own]
        elif np.isnan(own[0]) or own[0] < 0:
            found += [None] * (n - 1 if target.kind == "ordinal" else 1)
        elif target.kind == "ordinal":
            found += [[(own[0] > step) * (1 - smoothing) + smoothing / 2] for step in range(n - 1)]
        else:
            found.append([(own[0] == k) * (1 - smoothing) + smoothing / n for k in range(n)])
    return found


def _scores(targets: tuple[Target, ...], logits: Tensor) -> list[Tensor]:
    """Of each question its scores [B, 1 or classes]."""
    found, at = [], 0
    for target in targets:
        part = logits[:, at : at + target.outputs]
        at += target.outputs
        soft = target.kind in ("binary", "multi-class")
        found += [part.softmax(1)] if soft else [one.sigmoid() for one in part.split(1, dim=1)]
    return found


def _minimised(loss, shape: tuple[int, ...]) -> Tensor:  # type: ignore[no-untyped-def]
    logits = torch.zeros(shape, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [logits], max_iter=400, tolerance_grad=1e-10, tolerance_change=0.0, line_search_fn="strong_wolfe"
    )

    def value() -> Tensor:
        optimizer.zero_grad()
        found = loss(logits)
        found.backward()
        return found

    optimizer.step(value)
    return logits.detach()


def _set(keys: tuple[str, ...]) -> TrainingSection:
    return TrainingSection(
        class_weights="balanced" if "class_weights" in keys else "none",
        label_smoothing=0.1 if "label_smoothing" in keys else 0.0,
        sampling="balanced" if "sampling" in keys else "natural",
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("keys", [(), *((key,) for key in KEYS), *itertools.combinations(KEYS, 2), KEYS[:4]])
def test_each_case_is_lowest_at_its_own_label(kind: str, keys: tuple[str, ...]) -> None:
    """With free logits for each case the scores are the smoothed or mixed label, whatever the weights."""
    targets, settings = KINDS[kind], _set(keys)
    truth = _truth(targets, "unknown" in keys)
    minimise = loss_for(targets, settings, truth, CPU)
    wanted = torch.from_numpy(truth)
    smoothing, mixed = settings.label_smoothing, ()
    soft = [_soft(targets, np.atleast_1d(row), smoothing) for row in truth]
    if "mixed" in keys:
        draw = Mixing(1.0, 0.0, 5)(torch.zeros(40, 1), wanted, epoch=1, step=0, part=0)
        share = draw.share.double()
        mixed, part = (draw.other, share), float(share[0])
        assert 0.05 < part < 0.95
        partner = [_soft(targets, np.atleast_1d(row), smoothing) for row in draw.other.numpy()]
        soft = [
            [_mix(a, b, part) for a, b in zip(one, two, strict=True)]
            for one, two in zip(soft, partner, strict=True)
        ]
    logits = _minimised(
        lambda z: minimise(z, wanted, *mixed).mean() + 1e-9 * z.square().sum(), (40, outputs(targets))
    )
    for place, found in enumerate(_scores(targets, logits)):
        for case in range(40):
            expected = soft[case][place]
            if expected is not None:
                if kind in ("multi-label", "several") and "mixed" in keys and "unknown" in keys:
                    expected = _by_known(targets, truth, mixed, case, place, smoothing) or expected
                assert found[case].tolist() == pytest.approx(expected, abs=4e-3), (place, case)


def _asked(targets: tuple[Target, ...]) -> list[Target]:
    return [
        target for target in targets
        for _ in range(1 if target.kind in ("binary", "multi-class") else target.outputs)
    ]  # fmt: skip


def _mix(one: list[float] | None, two: list[float] | None, share: float) -> list[float] | None:
    if one is None or two is None:
        return two if one is None else one
    return [share * a + (1 - share) * b for a, b in zip(one, two, strict=True)]


def _by_known(targets, truth, mixed, case, place, smoothing):  # type: ignore[no-untyped-def]
    """Of a label of a multi-label target: a partner of few known labels says more of each of them."""
    asked = _asked(targets)[place]
    if asked.kind != "multi-label":
        return None
    width = len(asked.classes)
    other, share = mixed[0].numpy(), float(mixed[1][0])
    own, partner = truth[case, -width:], other[case, -width:]
    label = place - (len(_asked(targets)) - width)
    if np.isnan(own[label]) or np.isnan(partner[label]):
        return None
    a, b = share / (~np.isnan(own)).sum(), (1 - share) / (~np.isnan(partner)).sum()
    level = (a * own[label] + b * partner[label]) / (a + b)
    return [level * (1 - smoothing) + smoothing / 2]


@pytest.mark.parametrize("kind", ["binary", "multi-class", "ordinal", "multi-label", "several"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("unknown", [False, True])
def test_balanced_weights_make_all_classes_as_likely_where_nothing_tells_them_apart(
    kind: str, smoothing: float, unknown: bool
) -> None:
    """One logit vector for all cases: each class of each target gets the same score, smoothed or not."""
    targets = KINDS[kind]
    truth = _truth(targets, unknown)
    settings = TrainingSection(class_weights="balanced", label_smoothing=smoothing)
    minimise = loss_for(targets, settings, truth, CPU)
    if kind in (
        "multi-label",
        "several",
    ):  # the mean over known labels weighs cases unlike, unless all are known
        truth = _truth(targets, False)
        minimise = loss_for(targets, settings, truth, CPU)
    wanted = torch.from_numpy(truth)
    logits = _minimised(
        lambda z: minimise(z.expand(40, -1), wanted).mean(), (1, sum(target.outputs for target in targets))
    )
    for target, found in zip(_asked(targets), _scores(targets, logits), strict=True):
        if target.kind in ("binary", "multi-class"):
            assert found[0].tolist() == pytest.approx(
                [1 / len(target.classes)] * len(target.classes), abs=1e-3
            )
        elif target.kind == "multi-label":
            assert found[0].tolist() == pytest.approx([0.5], abs=1e-3)
    if kind == "ordinal":
        steps = [(4 - 1 - step) / 4 * (1 - smoothing) + smoothing / 2 for step in range(3)]
        assert [float(each) for each in _scores(targets, logits)] == pytest.approx(steps, abs=1e-3)


@pytest.mark.parametrize("kind", ["binary", "multi-class"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weighed", ["none", "balanced"])
def test_a_solved_head_has_the_same_optimum(kind: str, smoothing: float, weighed: str) -> None:
    """One-hot features tell every class apart: the scores of a head that is solved are the smoothed labels."""
    targets = KINDS[kind]
    truth = _truth(targets, False)
    n = len(targets[0].classes)
    settings = TrainingSection(class_weights=weighed, label_smoothing=smoothing)
    features = np.eye(n)[truth]
    head = LinearHead(n, outputs(targets)).double()
    minimise = loss_for(targets, settings, truth, CPU)
    solve(head, features, torch.from_numpy(truth), minimise, decay=1e-5)
    with torch.no_grad():
        scores = head(torch.eye(n, dtype=torch.float64)).softmax(1)
    wanted = np.eye(n) * (1 - smoothing) + smoothing / n
    np.testing.assert_allclose(scores.numpy(), wanted, atol=0.02)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_masks_are_lowest_at_their_classes(smoothing: float) -> None:
    """Dice and cross-entropy together: each pixel's own class has the highest score."""
    truth = torch.zeros(2, 6, 6, dtype=torch.long)
    truth[0, 1:3, 1:3], truth[0, 4:, 4:], truth[1, 0, 0] = 1, 2, 1
    minimise = dice_loss(smoothing)
    logits = _minimised(lambda z: minimise(z, truth).mean(), (2, 3, 6, 6))
    assert torch.equal(logits.argmax(1), truth)


def test_balanced_sampling_needs_no_weights_of_its_target_but_those_of_the_others() -> None:
    """Weights count the cases as drawn: both keys together balance each target once, not twice."""
    targets = (CLASSES, SECOND)
    truth = _truth(targets, True)
    first, second = class_weights(targets, truth, sampled=True)
    assert first.tolist() == [1.0, 1.0, 1.0]
    codes = np.nan_to_num(truth[:, 0], nan=-1).astype(np.int64)
    drawn = np.concatenate(
        [
            batch
            for epoch in range(1, 301)
            for batch in epoch_plan(np.arange(40), 40, seed=1, epoch=epoch, classes=codes)
        ]
    )
    later = truth[drawn, 1]
    total = [float(second[code]) * (later == code).sum() for code in range(3)]
    assert total == pytest.approx([np.mean(total)] * 3, rel=0.02)


def test_the_objective_counts_cases_as_drawn() -> None:
    truth = _truth((CLASSES,), False)
    logits, wanted = torch.randn(40, 3, dtype=torch.float64), torch.from_numpy(truth)
    both, alone = (
        loss_for((CLASSES,), _set(keys), truth, CPU)(logits, wanted)
        for keys in (("class_weights", "sampling"), ("sampling",))
    )
    assert torch.equal(both, alone)


def test_a_label_without_negatives_is_learned_all_the_same() -> None:
    truth = np.array([[1.0, 0.0], [1.0, 1.0], [np.nan, 0.0], [1.0, 0.0]], np.float32)
    (weights,) = class_weights([LABELS], truth)
    assert weights.tolist() == [1.0, 3.0]


@pytest.mark.parametrize("key", ["mixup", "cutmix"])
def test_mixing_with_parts_of_one_case_is_refused(key: str) -> None:
    words = [f"training.{key}=0.2", "training.batch_size=8", "training.accumulation_steps=8"]
    head = 'title = "t"\ndataset = "a/b"\n[strategy]\nname = "full"\n'
    with pytest.raises(RecipeError, match=f"training.{key} .*: expected 0 with training.batch_size = 8"):
        load(head, overrides=words, where="r")
    assert (
        load(
            head, overrides=[*words[:2], "training.accumulation_steps=4"], where="r"
        ).training.accumulation_steps
        == 4
    )


def test_class_weights_beside_balanced_sampling_are_refused_where_they_do_nothing() -> None:
    head = 'title = "t"\ndataset = "a/b"\n[strategy]\nname = "full"\n'
    recipe = load(
        head, overrides=["training.class_weights=balanced", "training.sampling=balanced"], where="r"
    )
    with pytest.raises(UsageError, match="class weights do nothing with"):
        refuse_idle_keys(recipe, segmentation=False, volumes=False)
    refuse_idle_keys(recipe, segmentation=False, volumes=False, targets=2)
