"""Write common/networks/families.csv, what `graftwork ls backbones` shows of backbones: `python docs/backbones.py`."""

from __future__ import annotations

import csv
from dataclasses import astuple, fields
from pathlib import Path

from graftwork.common.networks.architectures import FAMILIES, Figures, describe
from graftwork.common.networks.backbones import create_backbone
from graftwork.common.networks.costs import multiply_adds, parameters


def measured(name: str, family: str) -> Figures:
    """The row of one network, which is built for it."""
    backbone, said = create_backbone(name, weights=None, seed=0), describe(name)
    size = backbone.input_size
    return Figures(
        name, family, sum(parameters(backbone).values()), sum(multiply_adds(backbone, size).values()), size,
        backbone.width, len(backbone.stages), said.licence if said else "", said.repository if said else "",
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
