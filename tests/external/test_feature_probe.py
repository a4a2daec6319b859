"""Whether features tell the source: asked among cases of one label, with a warning where it goes with the label."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from graftwork.common.errors import TableError, UsageError
from graftwork.common.verbs import evaluate_file


def files(folder: Path, *, knows: bool, together: bool) -> tuple[Path, Path]:
    """120 patients of two wards; features that know the ward or not; malignancy more frequent in one or not."""
    rng = np.random.default_rng(0)
    who = np.repeat(np.arange(120), 2)
    ward = np.where(np.arange(120) % 2, "north", "south")[who]
    often = np.where(ward == "north", 0.6, 0.15) if together else np.full(len(who), 0.4)
    ill = rng.random(120) < often[::2]
    case = [f"c{n:03}" for n in range(len(who))]
    frame = pd.DataFrame(
        {"case": case, "group": [f"p{n}" for n in who], "ward": ward, "target": ill[who].astype(int)}
    )
    frame["score_malignant"] = np.clip(0.3 * ill[who] + rng.random(len(who)) * 0.7, 0, 1)
    features = rng.normal(size=(len(who), 6))
    features[:, 0] += 4 * ill[who]
    features[:, 1] += 4 * (ward == "north") * knows
    table = pd.DataFrame(features, columns=[f"f{n}" for n in range(6)]).assign(case=case)
    frame.to_csv(folder / "scores.csv", index=False)
    table.sample(frac=1, random_state=1).to_parquet(folder / "features.parquet")
    return folder / "scores.csv", folder / "features.parquet"


@pytest.mark.parametrize("knows", [True, False])
@pytest.mark.parametrize("together", [True, False])
def test_a_warning_where_features_tell_what_goes_with_the_label(
    tmp_path: Path, knows: bool, together: bool
) -> None:
    scores, features = files(tmp_path, knows=knows, together=together)
    found = evaluate_file(scores, "isic2020", by=["ward"], features=features, bootstrap=100)
    (probe,) = found.probes
    assert (probe.covariate, probe.values, probe.probe.folds) == ("ward", ("north", "south"), 5)
    frame = pd.read_csv(scores)
    assert probe.n == (frame["target"] == 0).sum()  # the label cannot be what is told
    assert (probe.probe.auroc > 0.95) == knows
    assert (abs(probe.probe.auroc - 0.5) < 0.15) != knows
    assert bool(probe.apart) == together
    assert probe.suspected == (knows and together)
    said = next(note for note in found.evaluation.notes if "linear probe" in note)
    assert said.startswith("A shortcut is possible.") == (knows and together)
    if probe.apart:
        _, value, apart = probe.apart[0]
        by_ward = frame.groupby("ward")["target"].mean()
        assert value == "north" and apart.value == pytest.approx(
            by_ward["north"] - by_ward["south"], abs=1e-12
        )


def test_too_few_groups_are_not_asked(tmp_path: Path) -> None:
    scores, features = files(tmp_path, knows=True, together=True)
    frame = pd.read_csv(scores)
    frame.loc[frame["group"].isin([f"p{n}" for n in range(12, 120)]), "ward"] = "south"
    frame.to_csv(scores, index=False)
    found = evaluate_file(scores, "isic2020", by=["ward"], features=features, bootstrap=20)
    assert "fewer than two of its values have 10 groups" in found.probes[0].reason
    assert not found.probes[0].suspected
    assert any("was not tested" in note for note in found.evaluation.notes)


def test_features_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    scores, features = files(tmp_path, knows=True, together=True)
    table = pd.read_parquet(features)
    ask = {"by": ["ward"], "features": features, "bootstrap": 20}
    with pytest.raises(UsageError, match="Add --by"):
        evaluate_file(scores, "isic2020", features=features, bootstrap=20)
    table[table["case"] != "c004"].to_parquet(features)
    with pytest.raises(TableError, match="1 cases have no features: c004"):
        evaluate_file(scores, "isic2020", **ask)  # type: ignore[arg-type]
    pd.concat([table, table[:1]]).to_parquet(features)
    with pytest.raises(TableError, match="1 cases stand twice"):
        evaluate_file(scores, "isic2020", **ask)  # type: ignore[arg-type]
    table.assign(f2=np.nan).to_parquet(features)
    with pytest.raises(TableError, match="f2 hold others"):
        evaluate_file(scores, "isic2020", **ask)  # type: ignore[arg-type]
    table.drop(columns="case").to_parquet(features)
    with pytest.raises(TableError, match="no column `case`"):
        evaluate_file(scores, "isic2020", **ask)  # type: ignore[arg-type]
