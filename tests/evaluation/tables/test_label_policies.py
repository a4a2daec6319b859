"""Uncertain and blank labels, settled class by class by a policy."""

from __future__ import annotations

import numpy as np
import pytest

from graftwork.common.errors import TableError, UsageError
from graftwork.common.evaluation.tables.label_policies import settle_labels

CLASSES = ("A", "B", "C")
LABELS = np.array([[1, -1, np.nan], [0, 0, -1], [-1, 1, 1], [np.nan, -1, 0]])


def test_one_policy_for_all_or_one_a_class() -> None:
    for policy, value in (("ignore", np.nan), ("zero", 0.0), ("one", 1.0)):
        found, changed = settle_labels(LABELS, CLASSES, policy)
        np.testing.assert_array_equal(found, np.where(LABELS == -1, value, LABELS))
        assert changed == 4
    found, changed = settle_labels(LABELS, CLASSES, {"A": "one", "B": "zero"})
    assert (found[2, 0], found[0, 1], found[3, 1], found[1, 2], changed) == (1, 0, 0, -1, 3)
    same, _ = settle_labels(LABELS, CLASSES, "A=one, B=zero")
    np.testing.assert_array_equal(found, same)


def test_blank_is_unknown_unless_the_policy_says_zero() -> None:
    found, changed = settle_labels(LABELS, CLASSES, {"A": "zero"}, "blank")
    assert (found[3, 0], changed) == (0, 1) and np.isnan(found[0, 2])
    with pytest.raises(UsageError, match="'one' is no policy"):
        settle_labels(LABELS, CLASSES, "one", "blank")


def test_self_trained_labels_are_a_models_probabilities() -> None:
    soft = np.arange(12).reshape(4, 3) / 12
    found, changed = settle_labels(LABELS, CLASSES, {"B": "self-trained", "C": "ignore"}, probabilities=soft)
    assert (found[0, 1], found[3, 1], changed) == (soft[0, 1], soft[3, 1], 3)
    assert np.isnan(found[1, 2]) and found[2, 0] == -1  # a class that is not named keeps its labels
    np.testing.assert_array_equal(found[[1, 2], 1], [0, 1])  # what is certain stays
    with pytest.raises(UsageError, match="none are given"):
        settle_labels(LABELS, CLASSES, "self-trained")
    with pytest.raises(TableError, match="do not fit"):
        settle_labels(LABELS, CLASSES, "self-trained", probabilities=soft[:2])
    with pytest.raises(TableError, match=r"0\.\.1"):
        settle_labels(LABELS, CLASSES, "self-trained", probabilities=soft * 2)


def test_what_is_no_label_is_refused() -> None:
    with pytest.raises(TableError, match="they hold 2"):
        settle_labels(np.where(LABELS == 1, 2, LABELS), CLASSES, "zero")
    with pytest.raises(TableError, match="do not fit 2 classes"):
        settle_labels(LABELS, CLASSES[:2], "zero")
