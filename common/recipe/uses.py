"""Which keys of a recipe have no say for a kind of data: to set one of them is an error, never a silence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graftwork.common.errors import UsageError

if TYPE_CHECKING:
    from graftwork.common.recipe import Recipe

__all__ = ["idle_keys", "refuse_idle_keys"]

# A name ending in a dot is a whole section.
_IDLE = {
    "pictures that are classified": ("decoder.", "volume."),
    "pictures that are outlined": (
        "volume.", "training.class_weights", "evaluation.threshold", "evaluation.target",
    ),
    "volumes": (
        "image.", "backbone.weights", "backbone.file", "backbone.mean", "backbone.std", "backbone.padding",
        "training.class_weights", "evaluation.threshold", "evaluation.target",
    ),
}  # fmt: skip


def idle_keys(*, segmentation: bool, volumes: bool) -> frozenset[str]:
    """The keys that have no say for these data; see `refuse_idle_keys`."""
    from graftwork.common.recipe import keys

    return frozenset(name for name in keys() if name.startswith(_IDLE[_kind(segmentation, volumes)]))


def _kind(segmentation: bool, volumes: bool) -> str:
    return "volumes" if volumes else f"pictures that are {'outlined' if segmentation else 'classified'}"


def refuse_idle_keys(recipe: Recipe, *, segmentation: bool, volumes: bool) -> None:
    """See that a recipe sets no key that does nothing for its data.

    Args:
        segmentation: whether masks are the target. volumes: whether the data are volumes.

    Raises:
        UsageError: names all such keys, with the values that they must have.
    """
    from graftwork.common.recipe import keys
    from graftwork.common.recipe.toml import value_text

    found = []
    for name in sorted(idle_keys(segmentation=segmentation, volumes=volumes), key=list(keys()).index):
        each = keys()[name]
        section, _, last = name.rpartition(".")
        value = getattr(getattr(recipe, section), last)
        if value_text(list(value) if isinstance(value, tuple) else value) != each.default:
            found.append(f"{name} (leave it at {each.default})")
    if found:
        what = _kind(segmentation, volumes)
        raise UsageError(f"for {what} these keys do nothing: {', '.join(found)}", where=recipe.dataset)
    if segmentation and not volumes and recipe.image.fit == "crop":
        raise UsageError(
            "what lies outside the crop would never be outlined",
            where="image.fit",
            remedy='set image.fit to "squash" or "pad"',
        )
