"""Camera-trap photographs."""

from __future__ import annotations

from importlib.resources import files

from graftwork.common.data.domain import Domain

__all__ = ["DOMAIN"]

DOMAIN = Domain(
    name="camera_trap",
    title="Camera-trap photographs",
    protocols="graftwork.domains.camera_trap.protocols",
    recipes=files("graftwork") / "recipes" / "camera_trap",
    cards=files("graftwork") / "data_cards" / "camera_trap",
    formats={"megadetector": "graftwork.domains.camera_trap.megadetector:write"},
    readers={".json": "graftwork.domains.camera_trap.megadetector:read_scores"},
    box_readers={".json": "graftwork.domains.camera_trap.megadetector:read_boxes"},
)
