"""Which keys of a recipe have no say for a kind of data: to set one of them is an error, never a silence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graftwork.common.errors import UsageError

if TYPE_CHECKING:
    from graftwork.common.recipe import Recipe


# A name ending in a dot is a whole section.
_IDLE = {
    "pictures that are classified": ("decoder.", "volume."),
    "pictures that are outlined": (
        "volume.",
        "augmentation.views",
        "strategy.regularisation_strengths",
        "training.class_weights",
        "training.sampling",
        "evaluation.threshold",
        "evaluation.threshold_target",
    ),
    "volumes": (
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
# what a head has no use for that is solved and not trained by steps
STEPS = (
    "training.epochs", "training.batch_size", "training.accumulation_steps", "training.learning_rate",
    "training.backbone_learning_rate_factor",
    "training.weight_decay", "training.l2_sp", "training.warmup", "training.schedule", "training.restart_schedule",
    "training.dropout", "training.sampling", "training.mixup", "training.cutmix", "training.ema",
    "training.patience", "training.gradient_clip_norm", "training.save_steps", "backbone.drop_path",
)  # fmt: skip


def idle_keys(*, segmentation: bool, volumes: bool, solved: bool = False) -> frozenset[str]:
    """The keys that have no say for these data, or, `solved`, where the head is solved; see `refuse_idle_keys`."""
    from graftwork.common.recipe import keys

    idle = _IDLE[_kind(segmentation, volumes)] + (STEPS if solved else ())
    return frozenset(name for name in keys() if name.startswith(idle))


def _kind(segmentation: bool, volumes: bool) -> str:
    return "volumes" if volumes else f"pictures that are {'outlined' if segmentation else 'classified'}"


def refuse_idle_keys(recipe: Recipe, *, segmentation: bool, volumes: bool, targets: int = 1) -> None:
    """See that a recipe sets no key that does nothing for its data.

    Args:
        segmentation: whether masks are the target. volumes: whether the data are volumes. targets: how many the
            data have.

    Raises:
        UsageError: names all such keys, with the values that they must have.
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
        what = _kind(segmentation, volumes) + (", with a head that is solved," if solved else "")
        raise UsageError(f"for {what} these keys do nothing: {', '.join(found)}", where=recipe.dataset)
    training = recipe.training
    if targets == 1 and (training.class_weights, training.sampling) == ("balanced", "balanced"):
        raise UsageError(
            "class weights do nothing beside balanced sampling, which already shows each class equally often",
            where="training.class_weights",
            remedy='set training.class_weights to "none", or training.sampling to "natural"',
        )
    if recipe.augmentation.views and not recipe.changes_pictures:
        raise UsageError(
            "there are no changed views where no other key of augmentation changes a picture",
            where="augmentation.views",
            remedy="set it to 0, or ask for a change",
        )
    if solved and not recipe.augmentation.views and recipe.changes_pictures:
        raise UsageError(
            "a head is solved on what is kept, and pictures that are changed anew in every epoch are not",
            where="augmentation.views",
            remedy="set it to the number of changed views of each picture, or strategy.regularisation_strengths to 0",
        )
    if segmentation and not volumes and recipe.image.fit == "crop":
        raise UsageError(
            "what lies outside the crop would never be outlined",
            where="image.fit",
            remedy='set image.fit to "squash" or "pad"',
        )
