"""Keys of a recipe that do nothing for a kind of data: setting one of them is an error."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graftwork.common.errors import UsageError

if TYPE_CHECKING:
    from graftwork.common.recipe import Recipe


# A name ending in a dot is a whole section.
_IDLE = {
    "image classification": ("decoder.", "volume."),
    "image segmentation": (
        "volume.",
        "augmentation.views",
        "strategy.regularisation_strengths",
        "training.class_weights",
        "training.sampling",
        "evaluation.threshold",
        "evaluation.threshold_target",
    ),
    "volume segmentation": (
        "image.",
        "augmentation.views",
        "backbone.weights",
        "backbone.file",
        "backbone.mean",
        "backbone.std",
        "backbone.padding",
        "backbone.channels",
        "backbone.drop_path",
        "strategy.regularisation_strengths",
        "training.class_weights",
        "training.sampling",
        "training.cutmix",
        "training.l2_sp",
        "evaluation.threshold",
        "evaluation.threshold_target",
    ),
}
# keys that do nothing where the head is solved instead of trained step by step
STEPS = (
    "training.epochs", "training.batch_size", "training.accumulation_steps", "training.learning_rate",
    "training.backbone_learning_rate_factor",
    "training.weight_decay", "training.l2_sp", "training.warmup", "training.schedule", "training.restart_schedule",
    "training.dropout", "training.sampling", "training.mixup", "training.cutmix", "training.ema",
    "training.patience", "training.gradient_clip_norm", "training.save_steps", "backbone.drop_path",
)  # fmt: skip


def idle_keys(*, segmentation: bool, volumes: bool, solved: bool = False) -> frozenset[str]:
    """The keys that do nothing for these data or, with `solved`, where the head is solved; see `refuse_idle_keys`."""
    from graftwork.common.recipe import keys

    idle = _IDLE[_kind(segmentation, volumes)] + (STEPS if solved else ())
    return frozenset(name for name in keys() if name.startswith(idle))


def _kind(segmentation: bool, volumes: bool) -> str:
    return (
        "volume segmentation" if volumes else f"image {'segmentation' if segmentation else 'classification'}"
    )


def refuse_idle_keys(recipe: Recipe, *, segmentation: bool, volumes: bool, targets: int = 1) -> None:
    """Refuse a recipe that sets a key that does nothing for its data.

    Args:
        segmentation: whether masks are the target. volumes: whether the data are volumes. targets: how many the
            data have.

    Raises:
        UsageError: lists all such keys, with the values that they must have.
    """
    from graftwork.common.recipe import keys
    from graftwork.common.recipe.toml import value_text

    found = []
    solved = bool(recipe.strategy.regularisation_strengths) and not segmentation
    idle = idle_keys(segmentation=segmentation, volumes=volumes, solved=solved)
    for name in sorted(idle, key=list(keys()).index):
        each = keys()[name]
        section, _, last = name.rpartition(".")
        value = getattr(getattr(recipe, section), last)
        if value_text(list(value) if isinstance(value, tuple) else value) != each.default:
            found.append(f"{name} (leave it at {each.default})")
    if found:
        what = _kind(segmentation, volumes) + (" with a solved head" if solved else "")
        raise UsageError(f"for {what} these keys do nothing: {', '.join(found)}", where=recipe.dataset)
    training = recipe.training
    if targets == 1 and (training.class_weights, training.sampling) == ("balanced", "balanced"):
        raise UsageError(
            "class weights do nothing with balanced sampling, which already draws each class equally often",
            where="training.class_weights",
            remedy='set training.class_weights to "none", or training.sampling to "natural"',
        )
    if recipe.augmentation.views and not recipe.augments:
        raise UsageError(
            "augmentation.views is set, but no other augmentation key changes an image",
            where="augmentation.views",
            remedy="set it to 0, or set another augmentation key",
        )
    if solved and not recipe.augmentation.views and recipe.augments:
        raise UsageError(
            "the head is solved on cached features, and images with a new augmentation in every epoch cannot be cached",
            where="augmentation.views",
            remedy="set it to a number of augmented versions per image, or strategy.regularisation_strengths to 0",
        )
    if segmentation and not volumes and recipe.image.fit == "crop":
        raise UsageError(
            "the area outside the crop could never be segmented",
            where="image.fit",
            remedy='set image.fit to "squash" or "pad"',
        )
