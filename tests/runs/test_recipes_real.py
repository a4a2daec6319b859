"""The recipes on the real radiographs give what the README says."""

from __future__ import annotations

from pathlib import Path

import pytest
from real_data import real

from graftwork.common.errors import LeakError
from graftwork.common.runs.run_folder import open_run
from graftwork.common.verbs import run

pytestmark = pytest.mark.real
RECIPE = "chest_xray/kermany_linear-probe"


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_linear_probe_split_by_patient(seed: int, out: Path) -> None:
    done = run(RECIPE, real("chest_xray/kermany_224"), out, [f"seed={seed}"])
    auroc = done.evaluation.result("auroc")
    assert auroc.low > 0.975
    assert auroc.n == 1171
    kept = open_run(done.folder)
    assert kept.split.leaks == 0
    assert "Patients shared between parts: 0 of 3,118" in done.report.read_text("utf-8")
    assert len(kept.mistakes) == 12


def test_the_publisher_s_parts_are_refused_or_stamped(out: Path) -> None:
    data = real("chest_xray/kermany_224")
    with pytest.raises(LeakError, match="170"):
        run(RECIPE, data, out, ["split.by=publisher"])
    done = run(RECIPE, data, out, ["split.by=publisher"], allow_leak=True)
    auroc = done.evaluation.result("auroc")
    assert auroc.n == 624
    assert auroc.low < 0.968 < auroc.high  # as published
    assert open_run(done.folder).split.leaks == 170
    assert "170 of 3,118" in done.report.read_text("utf-8")
