"""What a reader sees of a run: one HTML page that holds everything, a page that compares runs, the model card."""

from __future__ import annotations

from graftwork.common.report.card import model_card
from graftwork.common.report.page import evaluation_report, report

__all__ = ["evaluation_report", "model_card", "report"]
