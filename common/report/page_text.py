"""The files of the folder `templates`, wherever the package lies."""

from __future__ import annotations

from importlib.resources import files

__all__ = ["template_text"]


def template_text(name: str) -> str:
    """The text of a template or style sheet."""
    return (files("graftwork.common.report") / "templates" / name).read_text("utf-8")
