"""What a reader relies on below a figure: the caption says what was measured, by its right name."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_runs import made_run
from read_pages import words
from reported_runs import camera_run

from graftwork.common.evaluation import expected_calibration_error


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ((), "images without augmentation, with the same class weights as the training loss."),
        (("training.class_weights='none'",), "images without augmentation."),
        (
            ("training.label_smoothing=0.1",),
            "images without augmentation, with the same class weights and label smoothing as the training loss.",
        ),
    ],
)
def test_the_caption_of_the_loss_says_what_validation_carries(
    changes: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    run = made_run(tmp_path / "r", changes=("training.class_weights='balanced'", *changes))
    assert f"Validation: after the epoch, {said}" in words([run]).text


def test_the_calibration_of_several_classes_is_called_top_label(tmp_path: Path) -> None:
    run = camera_run(tmp_path / "0-aa")
    page, target = words([run]), run.manifest.target
    frame = run.predictions[run.predictions["part"] == "test"]
    truth = frame["target"].map(target.classes.index).to_numpy(dtype=int)
    error = expected_calibration_error(
        truth, frame[list(target.scores)].to_numpy(), bins=10, variant="top-label"
    )
    assert f"Expected calibration error {error:.3f}" in page.text
    assert "top-label ECE, 10 equal-width bins" in page.text and "class-1 ECE" not in page.text
