"""Text that a spreadsheet would run: escaped on request in every CSV that a verb writes, and given back exactly."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, strategies as st

from graftwork.common.errors import UsageError
from graftwork.common.files.formulas import escape_formula, unescape_formula
from graftwork.common.prediction.output_formats import choose_format
from graftwork.common.prediction.row_stream import read_rows, write_csv
from graftwork.common.selection.backbone_ranking import Candidate, Selection, write_selection
from graftwork.common.verbs import evaluate_masks

RUN = ("=1+1.png", "+x", "-x", "@SUM(A1)", "\t=x", "\r=x")


@given(st.text(alphabet="'=+-@\t\rab1 "))
def test_every_text_comes_back_and_no_formula_stays(text: str) -> None:
    escaped = escape_formula(text)
    assert isinstance(escaped, str) and unescape_formula(escaped) == text
    assert not escaped.startswith(("=", "+", "-", "@", "\t", "\r"))


def test_numbers_and_other_text_stay_as_they_are() -> None:
    for cell in (-1.5, None, 3, "a=b", "x-1", "", "'tis"):
        assert escape_formula(cell) is cell
    assert unescape_formula("'tis") == "'tis"


def test_predictions_are_escaped_and_read_back(tmp_path: Path) -> None:
    schema = pa.schema([("file", pa.string()), ("score_=a", pa.float64()), ("failure", pa.string())])
    rows = pa.table(
        {"file": [*RUN, "'=x", "plain.png"], "score_=a": [-0.5] * 8, "failure": [None, "=why", *[None] * 6]},
        schema=schema,
    )
    write_csv([rows], schema, tmp_path / "a.csv", escape=True)
    text = (tmp_path / "a.csv").read_bytes().decode()  # a carriage return stays one
    assert "'=1+1.png,-0.5" in text and "'=why" in text and "\n=" not in text and "\nplain.png,-0.5" in text
    assert pa.concat_tables(read_rows(tmp_path / "a.csv", "csv-escaped", schema)) == rows
    write_csv([rows], schema, tmp_path / "b.csv")
    assert "\n=1+1.png" in (tmp_path / "b.csv").read_text()  # only on request
    assert choose_format(tmp_path / "a.csv", "", {}, escape=True) == "csv-escaped"
    with pytest.raises(UsageError, match="formulas are escaped in CSV, and the format is parquet"):
        choose_format(tmp_path / "a.parquet", "", {}, escape=True)


def test_the_values_of_masks_and_of_backbones_are_escaped(tmp_path: Path) -> None:
    for name in ("t", "p"):
        (tmp_path / name).mkdir()
        for case in ("=a", "-b"):
            mask = np.zeros((8, 8, 8), np.uint8)
            mask[2:5, 2:5, 2:5] = 1
            nibabel.save(nibabel.Nifti1Image(mask, np.eye(4)), tmp_path / name / f"{case}.nii.gz")
    asked = {"out": tmp_path / "v.csv", "bootstrap": 20}
    evaluate_masks(tmp_path / "t", tmp_path / "p", "brats2020", **asked)  # type: ignore[arg-type]
    plain = pd.read_csv(tmp_path / "v.csv")
    evaluate_masks(tmp_path / "t", tmp_path / "p", "brats2020", escape_formulas=True, **asked)  # type: ignore[arg-type]
    escaped = pd.read_csv(tmp_path / "v.csv")
    assert set(plain["case"]) == {"=a", "-b"} and set(escaped["case"]) == {"'=a", "'-b"}
    pd.testing.assert_frame_equal(plain.drop(columns="case"), escaped.drop(columns="case"))
    one = Candidate("@x", "x", "file: -w", "", "", 1, 1, 1.0, -0.1, -0.2, 0.3, 0.5, 0.4, 0.6)
    write_selection(Selection("log_me", 1, 1, (one,)), tmp_path / "s.csv", escape=True)
    assert (
        "'@x,x,file: -w," in (tmp_path / "s.csv").read_text() and ",-0.1," in (tmp_path / "s.csv").read_text()
    )
