"""Write common/networks/families.csv, the table of `graftwork ls backbones`: `python docs/backbones.py`."""

from __future__ import annotations

import csv
from dataclasses import astuple, fields
from pathlib import Path

from graftwork.common.networks.architectures import FAMILIES, Figures, describe
from graftwork.common.networks.backbones import create_backbone
from graftwork.common.networks.costs import multiply_adds, parameters


def measured(name: str, family: str) -> Figures:
    """Build one network and measure its row of the table."""
    backbone, record = create_backbone(name, weights=None, seed=0), describe(name)
    size = backbone.input_size
    return Figures(
        name, family, sum(parameters(backbone).values()), sum(multiply_adds(backbone, size).values()), size,
        backbone.width, len(backbone.stages), record.licence if record else "", record.repository if record else "",
    )  # fmt: skip


if __name__ == "__main__":
    place = Path(__file__).resolve().parent.parent / "common" / "networks" / "families.csv"
    with place.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow([each.name for each in fields(Figures)])
        for family, members in FAMILIES.items():
            for name in members:
                rows.writerow(astuple(measured(name, family)))
                print(name)
