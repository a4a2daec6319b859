"""Another program's predictions of 22,433 radiographs: its published table in every digit, and every golden value."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from real_data import real
from sklearn.metrics import roc_auc_score

from graftwork.common.evaluation import auroc, group_bootstrap
from graftwork.common.verbs import evaluate_file

pytestmark = pytest.mark.real


def test_all_fourteen_areas_equal_the_published_table() -> None:
    found = evaluate_file(
        real("chest_xray/predictions/nih_reproduce_chexnet/preds.csv"),
        "chexnet-random",
        truth=real("chest_xray/labels/Data_Entry_2017_v2020.csv"),
        group="Patient ID",
        only_predicted=True,
        by=["Patient Gender"],
        bootstrap=200,
    )
    published = pd.read_csv(
        real("chest_xray/predictions/nih_reproduce_chexnet/aucs.csv"), float_precision="round_trip"
    )
    assert (found.evaluation.n, found.evaluation.groups) == (22_433, 6_187)
    for name, value in published.itertuples(index=False):
        ours = found.evaluation.result("auroc", name)
        assert ours.value == pytest.approx(value, abs=1e-15)
        assert ours.low < value < ours.high
    assert found.evaluation.result("auroc").classes == (14, 14)
    assert [each.value for each in found.subgroups[0].subgroups] == ["F", "M"]


def test_a_bootstrap_over_patients_is_that_of_sklearn_on_the_same_resamples() -> None:
    predicted = pd.read_csv(real("chest_xray/predictions/nih_reproduce_chexnet/preds.csv"))
    labels = pd.read_csv(real("chest_xray/labels/Data_Entry_2017_v2020.csv")).set_index("Image Index")
    labels = labels.loc[predicted["Image Index"]]
    y = labels["Finding Labels"].str.contains("Hernia").to_numpy()
    s = predicted["prob_Hernia"].to_numpy()
    seen = []

    def metric(weights: np.ndarray) -> np.ndarray:
        values = auroc(y, s, weights=weights)
        for row, value in zip(weights, values, strict=True):
            assert value == pytest.approx(roc_auc_score(y, s, sample_weight=row), abs=1e-12)
        seen.extend(values)
        return values

    group_bootstrap(metric, labels["Patient ID"].to_numpy(), replicates=20)
    assert len(seen) == 20
