"""Dermoscopic images of skin lesions."""

from __future__ import annotations

from importlib.resources import files

from graftwork.common.data.domain import Domain

__all__ = ["DOMAIN"]

DOMAIN = Domain(
    name="dermoscopy",
    title="Dermoscopic images of skin lesions",
    protocols="graftwork.domains.dermoscopy.protocols",
    recipes=files("graftwork") / "recipes" / "dermoscopy",
    cards=files("graftwork") / "data_cards" / "dermoscopy",
)
