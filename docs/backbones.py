"""Write common/families.csv, what `graftwork ls backbones` shows of backbones: `python docs/backbones.py`."""

from __future__ import annotations

import csv
from pathlib import Path

from graftwork.common.architectures import FAMILIES, SQUEEZENET, describe
from graftwork.common.backbones import create_backbone
from graftwork.common.costs import multiply_adds

if __name__ == "__main__":
    place = Path(__file__).resolve().parent.parent / "common" / "families.csv"
    with place.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(("name", "family", "parameters", "multiply_adds", "size", "width", "stages"))
        for family, members in FAMILIES.items():
            for name in members:
                backbone = create_backbone(name, weights=None, seed=0)
                parameters = sum(each.numel() for each in backbone.parameters())
                size = backbone.input_size
                costs = sum(multiply_adds(backbone, size).values())
                rows.writerow((name, family, parameters, costs, size, backbone.width, len(backbone.stages)))
                print(name, parameters, costs, describe(name) is not None or name == SQUEEZENET)
