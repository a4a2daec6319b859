"""Land cover seen from satellites."""

from __future__ import annotations

from importlib.resources import files

from graftwork import Domain

__all__ = ["DOMAIN"]

DOMAIN = Domain(
    name="land_cover",
    title="Land cover seen from satellites",
    protocols="land_cover.protocols",
    recipes=files("land_cover") / "recipes",
    cards=files("land_cover") / "cards",
)
