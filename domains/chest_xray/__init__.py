"""Chest radiographs."""

from __future__ import annotations

from importlib.resources import files

from graftwork.common.data.domain import Domain

__all__ = ["DOMAIN"]

DOMAIN = Domain(
    name="chest_xray",
    title="Chest radiographs",
    protocols="graftwork.domains.chest_xray.protocols",
    recipes=files("graftwork") / "recipes" / "chest_xray",
    cards=files("graftwork") / "data_cards" / "chest_xray",
)
