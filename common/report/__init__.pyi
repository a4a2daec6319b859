"""The public names of reports, each imported from its module when it is first used."""

from .page import (
    compared_report as compared_report,
    evaluation_report as evaluation_report,
    masks_report as masks_report,
    report as report,
)
from .run.model_card import model_card as model_card
