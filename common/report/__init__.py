"""What a reader sees of a run: one HTML page that holds everything, a page that compares runs, the model card."""

from __future__ import annotations

from graftwork.common.report.card import model_card
from graftwork.common.report.page import compared_report, evaluation_report, masks_report, report

__all__ = ["compared_report", "evaluation_report", "masks_report", "model_card", "report"]
