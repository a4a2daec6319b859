"""mixup and cutmix: what is mixed, by how much, and that nothing but the seed decides."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from graftwork.common.errors import UsageError
from graftwork.common.training.mixup import Mixing


def pictures(count: int = 8, side: int = 12) -> torch.Tensor:
    """Each of one value, its own number, so that every pixel tells where it is from."""
    return torch.arange(count, dtype=torch.float32)[:, None, None, None].expand(count, 3, side, side).clone()


def test_mixup_weighs_a_picture_and_its_partner_as_their_labels() -> None:
    inputs, truth = pictures(), torch.arange(8)
    shares = []
    for step in range(200):
        mixed = Mixing(0.4, 0.0, seed=1)(inputs, truth, epoch=1, step=step, part=0)
        share = mixed.share[:, None, None, None]
        wanted = share * inputs + (1 - share) * inputs[mixed.other]
        torch.testing.assert_close(mixed.inputs, wanted)
        assert torch.equal(mixed.truth, truth) and sorted(mixed.other.tolist()) == list(range(8))
        shares.append(float(mixed.share[0]))
    drawn = torch.tensor(shares)
    assert drawn.mean() == pytest.approx(0.5, abs=0.08)
    assert drawn.var() == pytest.approx(1 / (4 * (2 * 0.4 + 1)), rel=0.2), "a beta distribution of alpha 0.4"


def test_cutmix_pastes_a_box_and_counts_its_area() -> None:
    inputs, truth = pictures(), torch.arange(8)
    kinds = set()
    for step in range(60):
        mixed = Mixing(0.0, 1.0, seed=1)(inputs, truth, epoch=1, step=step, part=0)
        for place in range(8):
            pasted = mixed.inputs[place, 0] != place
            if int(mixed.other[place]) == place:
                continue
            assert float(mixed.share[place]) == pytest.approx(1 - pasted.float().mean().item(), abs=1e-6)
            assert set(mixed.inputs[place].unique().tolist()) <= {float(place), float(mixed.other[place])}
            rows, columns = pasted.any(dim=1), pasted.any(dim=0)
            assert int(pasted.sum()) == int(rows.sum()) * int(columns.sum()), "one box"
            kinds.add(round(float(mixed.share[place]), 2))
    assert len(kinds) > 10


def test_cutmix_pastes_the_mask_with_the_picture() -> None:
    inputs = pictures()
    masks = inputs[:, 0].long()
    mixed = Mixing(0.0, 1.0, seed=0)(inputs, masks, epoch=1, step=3, part=0)
    assert torch.equal(mixed.inputs[:, 0].long(), mixed.truth)
    assert torch.equal(mixed.share, torch.ones(8))


def test_the_seed_decides_and_the_global_generators_are_left_alone() -> None:
    inputs, truth = pictures(), torch.arange(8)
    state = torch.get_rng_state()
    one = Mixing(0.4, 1.0, seed=1)(inputs, truth, epoch=2, step=5, part=1)
    again = Mixing(0.4, 1.0, seed=1)(inputs, truth, epoch=2, step=5, part=1)
    assert torch.equal(one.inputs, again.inputs) and torch.equal(one.other, again.other)
    others = [{"epoch": 3}, {"step": 6}, {"part": 2}]
    for other in others:
        found = Mixing(0.4, 1.0, seed=1)(inputs, truth, **{"epoch": 2, "step": 5, "part": 1, **other})
        assert not torch.equal(found.inputs, one.inputs)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_single_picture_stays_and_features_are_never_cut() -> None:
    alone = pictures(1)
    mixed = Mixing(0.4, 1.0, seed=1)(alone, torch.tensor([0]), epoch=1, step=0, part=0)
    assert torch.equal(mixed.inputs, alone) and float(mixed.share) == 1.0
    with pytest.raises(UsageError, match="cutmix"):
        Mixing(0.0, 1.0, seed=1)(torch.zeros(4, 7), torch.zeros(4), epoch=1, step=0, part=0)


def test_unknown_labels_stay_unknown_in_their_own_term() -> None:
    truth = torch.tensor([[1.0, float("nan")], [0.0, 1.0]])
    mixed = Mixing(0.4, 0.0, seed=3)(pictures(2), truth, epoch=1, step=0, part=0)
    for told in (mixed.truth, mixed.other):
        assert int(torch.isnan(told).sum()) == 1


def test_blocks_and_features_are_blended_and_nothing_given_is_changed() -> None:
    for shape in ((4, 2, 1, 3, 3, 3), (4, 7), (4, 3, 5, 5)):
        inputs, truth = torch.randn(shape, generator=torch.Generator().manual_seed(0)), torch.arange(4)
        before = inputs.clone()
        mixed = Mixing(0.4, 0.0, seed=1)(inputs, truth, epoch=1, step=0, part=0)
        kept = float(mixed.share[0])
        torch.testing.assert_close(mixed.inputs, kept * before + (1 - kept) * before[mixed.other])
        assert torch.equal(inputs, before) and torch.equal(truth, torch.arange(4))
    inputs, masks = pictures(), pictures()[:, 0].long()
    Mixing(0.0, 1.0, seed=0)(inputs, masks, epoch=1, step=3, part=0)
    assert torch.equal(inputs, pictures()) and torch.equal(masks, pictures()[:, 0].long())


def test_a_fair_coin_chooses_between_both() -> None:
    mixing, cut = Mixing(0.4, 1.0, seed=1), 0
    layout = torch.channels_last
    for step in range(200):
        inputs = pictures().contiguous(memory_format=layout)
        mixed = mixing(inputs, torch.arange(8), epoch=1, step=step, part=0)
        cut += int(bool((mixed.inputs == mixed.inputs.round()).all()))  # blends are no whole numbers
        assert mixed.inputs.is_contiguous(memory_format=layout)
    assert 75 <= cut <= 125


def test_the_loss_of_a_mixed_case_is_that_of_its_mixed_label() -> None:
    logits = torch.randn(8, 8, generator=torch.Generator().manual_seed(0))
    mixed = Mixing(0.4, 0.0, seed=2)(pictures(), torch.arange(8), epoch=1, step=0, part=0)
    first, other = (F.cross_entropy(logits, told, reduction="none") for told in (mixed.truth, mixed.other))
    soft = mixed.share[:, None] * F.one_hot(mixed.truth, 8) + (1 - mixed.share)[:, None] * F.one_hot(
        mixed.other, 8
    )
    both = mixed.share * first + (1 - mixed.share) * other
    torch.testing.assert_close(both, F.cross_entropy(logits, soft, reduction="none"))


def test_what_cannot_be_is_refused_whatever_the_coin_says() -> None:
    for step in range(4):
        for inputs, truth in (
            (torch.zeros(4, 2, 1, 3, 3, 3), torch.zeros(4, 2, 3, 3, 3)),
            (torch.zeros(4, 3, 6, 6), torch.zeros(4, 12, 12)),  # a mask of another size cannot be cut alike
        ):
            with pytest.raises(UsageError, match=r"training\.cutmix"):
                Mixing(0.4, 1.0, seed=1)(inputs, truth, epoch=1, step=step, part=0)
    for name, alphas in (("mixup", (-1.0, 0.0)), ("cutmix", (0.0, float("nan")))):
        with pytest.raises(UsageError, match=rf"training\.{name}"):
            Mixing(*alphas, seed=0)
