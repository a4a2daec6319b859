"""Magnetic resonance images of the brain."""

from __future__ import annotations

from importlib.resources import files

from graftwork.common.data.domain import Domain

__all__ = ["DOMAIN"]

DOMAIN = Domain(
    name="brain_mri",
    title="Magnetic resonance images of the brain",
    protocols="graftwork.domains.brain_mri.protocols",
    recipes=files("graftwork") / "recipes" / "brain_mri",
    cards=files("graftwork") / "data_cards" / "brain_mri",
)
