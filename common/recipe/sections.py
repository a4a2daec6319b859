"""The sections of a recipe: each key with its type, range, default, unit and description.

Error messages, the JSON Schema, the comments of a written recipe and the table of keys all come from here.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, field_validator
from pydantic.config import JsonDict
from pydantic.json_schema import SkipJsonSchema

from graftwork.common.recipe.allowances import ALLOWANCES


def key(description: str, default: Any = ..., *, unit: str = "", expected: str = "", **limits: Any) -> Any:
    """A key of a section: description, default, unit, expected value in words, and the limits of pydantic."""
    extra: JsonDict = {"x-unit": unit} if unit else {}
    if expected:
        extra["x-expected"] = expected
    return Field(default, description=description, json_schema_extra=extra, **limits)


def as_tuple(value: object) -> object:
    """A list of TOML as a tuple, which is frozen."""
    return tuple(value) if isinstance(value, list) else value


def _distinct(value: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(value)) < len(value):
        raise ValueError("named twice")
    return value


def _three_or_none(value: tuple[float, ...]) -> tuple[float, ...]:
    if len(value) not in (0, 3):
        raise ValueError("three or none")
    return value


def _three_sides(value: tuple[int, ...]) -> tuple[int, ...]:
    if len(value) != 3 or any(side % 16 or not 16 <= side <= 256 for side in value):
        raise ValueError("three multiples of 16 from 16 to 256")
    return value


def _three(description: str) -> Any:
    shapes: JsonDict = {"anyOf": [{"maxItems": 0}, {"minItems": 3, "maxItems": 3}]}
    extra: JsonDict = {**shapes, "x-unit": "share of the full range"}
    return Field((), description=description, json_schema_extra=extra)


def _optional_seed(entry: dict[str, Any]) -> None:
    entry.pop("default", None)  # TOML has no null
    entry["x-expected"] = SEED_EXPECTED


Fraction = Annotated[float, Field(ge=0, le=1)]
Mean = Annotated[float, Field(ge=0, le=1)]
Deviation = Annotated[float, Field(gt=0, le=1)]
Source = Literal["file", "package", "hub"]
Sources = Annotated[
    tuple[Source, ...], BeforeValidator(as_tuple), AfterValidator(_distinct), Field(min_length=1)
]
Allowance = Literal["leak", "look-alike-groups", "look-alike-units", "look-alike-classes", "group-key"]
Allowances = Annotated[tuple[Allowance, ...], BeforeValidator(as_tuple), AfterValidator(_distinct)]
Means = Annotated[tuple[Mean, ...], BeforeValidator(as_tuple), AfterValidator(_three_or_none)]
Deviations = Annotated[tuple[Deviation, ...], BeforeValidator(as_tuple), AfterValidator(_three_or_none)]
Sides = Annotated[tuple[int, ...], BeforeValidator(as_tuple), AfterValidator(_three_sides)]
SEEDS = 2**32 - 1  # the largest seed that every generator in use accepts
SEED_EXPECTED = f"a whole number from 0 to {SEEDS}"


class Section(BaseModel):
    """A frozen table of keys: unknown keys are refused, and only whole numbers are converted."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    @field_validator("*", mode="after")
    @classmethod
    def _one_zero(cls, value: Any) -> Any:
        return value + 0.0 if isinstance(value, float) else value  # -0.0 is 0.0: equal recipes, equal digest


class BackboneSection(Section):
    """The pretrained network, and where its weights may come from."""

    name: str = key(
        "Network, by its timm name.",
        "tf_efficientnet_lite0",
        pattern=r"^[A-Za-z0-9_.-]+$",
        expected="a timm name",
    )
    weights: Sources = key(
        "Where the pretrained weights may come from, tried in this order: `file` (backbone.file), `package` "
        "(an installed Python package), `hub` (the Hugging Face hub; needs the network, so only when named).",
        ("file", "package"),
        expected='a list of "file", "package" or "hub", each at most once',
    )
    file: str = key("Local safetensors file with the weights; empty: the weights folder is searched.", "")
    mean: Means = _three("Mean of each input channel; empty: as in the card of the weights.")
    std: Deviations = _three(
        "Standard deviation of each input channel; empty: as in the card of the weights."
    )
    padding: Literal["", "same"] = key(
        "Padding of strided convolutions: `same` as TensorFlow pads; empty: as in the card of the weights.",
        "",
    )
    channels: Literal[1, 3, 4] = key(
        "Input channels: 3, or 1 (grey) or 4, with the weights of the first layer adapted.", 3
    )
    drop_path: float = key(
        "Largest probability of dropping a residual branch in training (stochastic depth); it rises with depth.",
        0.0,
        ge=0,
        lt=1,
    )


class ImageSection(Section):
    """How an image becomes the input of the network."""

    size: int = key("Side of the square input.", 224, ge=16, le=4096, unit="px")
    fit: Literal["squash", "pad", "crop"] = key(
        "How an image that is not square is fitted: `squash` both sides, `pad` the shorter with black, or `crop` "
        "the longer around the centre.",
        "squash",
    )
    interpolation: Literal["bilinear", "bicubic", "area"] = key("Resampling filter.", "bilinear")


class AugmentationSection(Section):
    """Random changes of training images; 0 turns one off. Never applied to validation or test images."""

    horizontal_flip: Fraction = key("Probability of a left-right flip.", 0.0)
    vertical_flip: Fraction = key("Probability of an upside-down flip.", 0.0)
    rotation: float = key("Largest rotation to either side.", 0.0, ge=0, le=180, unit="degrees")
    zoom: float = key("Largest change of scale, in or out.", 0.0, ge=0, le=0.9, unit="share of the size")
    shift: float = key("Largest shift, horizontal and vertical.", 0.0, ge=0, le=0.9, unit="share of the side")
    brightness: Fraction = key("Largest change of brightness.", 0.0, unit="share of the full range")
    contrast: Fraction = key("Largest change of contrast.", 0.0, unit="share of the contrast")
    views: int = key(
        "Fixed number of augmented versions of each image, used in turn, so that the features of frozen stages can be "
        "cached; 0: new augmentation in every epoch.",
        0,
        ge=0,
        le=1000,
        unit="views",
    )


class DecoderSection(Section):
    """The decoder of a segmentation network; not used in classification."""

    width: int = key(
        "Channels of the last decoder stage; each deeper stage has twice as many, at most 256.",
        16,
        ge=4,
        le=256,
        unit="channels",
    )


class VolumeSection(Section):
    """Patches of volumes, in training and in prediction; not used for 2-D images."""

    patch_size: Sides = Field(
        default=(32, 48, 32),
        description="Size of the patches that the network is given: left to right, back to front, foot to head.",
        json_schema_extra={
            "minItems": 3,
            "maxItems": 3,
            "x-unit": "voxels",
            "x-expected": "a list of three multiples of 16 from 16 to 256",
        },
    )
    patches_per_volume: int = key(
        "Patches drawn from each volume in an epoch.", 2, ge=1, le=1000, unit="patches"
    )
    patch_overlap: float = key(
        "Overlap of neighbouring patches when a whole volume is predicted.",
        0.5,
        ge=0,
        le=0.9,
        unit="share of the side",
    )


class SplitSection(Section):
    """Training, validation and test parts; each group stays in one part."""

    by: Literal["group", "publisher"] = key(
        "`group`: drawn by group, stratified by target; `publisher`: the published test part.",
        "group",
    )
    validation: float = key(
        "Validation part; with `publisher`, 0 keeps the published one and a larger value draws a new one by group.",
        0.15,
        ge=0,
        lt=1,
        unit="share of the cases",
    )
    test: float = key("Test part; not used with `publisher`.", 0.2, ge=0, lt=1, unit="share of the cases")
    seen: float = key(
        "Part of the training groups that is held out and evaluated separately from the test part, for data whose "
        "groups appear again in use (camera locations); frames of one event stay together. 0: none.",
        0.0,
        ge=0,
        lt=1,
        unit="share of the training cases",
    )
    seed: Annotated[int, Field(ge=0, le=SEEDS)] | SkipJsonSchema[None] = Field(
        default=None, description="Seed of the split; absent: `seed`.", json_schema_extra=_optional_seed
    )
    allow_leak: bool = key(
        "Allow groups in two parts, for studies of leakage; every report shows a warning.", False
    )
    allow: Allowances = key(
        "Exceptions, by name, to the checks that refuse a split: "
        + "; ".join(f"`{name}`: {text}" for name, text in ALLOWANCES.items())
        + ". Every report shows a warning.",
        (),
        expected=f"a list of {', '.join(map(repr, ALLOWANCES))}, each at most once",
    )

    @property
    def allowed(self) -> tuple[str, ...]:
        """The names of all allowed exceptions; "leak" by either key."""
        return tuple(
            name for name in ALLOWANCES if name in self.allow or (name == "leak" and self.allow_leak)
        )


class TrainingSection(Section):
    """Optimiser, schedule, loss and data loading."""

    epochs: int = key("Passes over the training part.", 10, ge=1, le=100_000, unit="epochs")
    batch_size: int = key(
        "Cases in an optimiser step, over all processes.", 32, ge=1, le=1_000_000, unit="cases"
    )
    accumulation_steps: int = key(
        "Parts of a batch that go through the network one after the other (gradient accumulation), to save memory; "
        "at most one per case of the batch.",
        1,
        ge=1,
        le=1_000_000,
        unit="parts",
    )
    learning_rate: float = key("Peak learning rate.", 1e-3, gt=0, le=100)
    backbone_learning_rate_factor: float = key(
        "Factor on the learning rate for the stages of the backbone.", 1.0, gt=0, le=100
    )
    weight_decay: float = key("Decoupled weight decay (AdamW).", 0.01, ge=0, le=100)
    l2_sp: float = key(
        "Decoupled decay of the backbone towards its pretrained weights, in place of weight_decay there (L2-SP).",
        0.0,
        ge=0,
        le=100,
    )
    warmup: float = key("Linear warm-up of the learning rate from 0.", 0.0, ge=0, le=100_000, unit="epochs")
    schedule: Literal["cosine", "constant", "plateau"] = key(
        "Learning-rate schedule after the warm-up: `cosine` decays to 0; `plateau` lowers the rate when the validation "
        "metric stops improving.",
        "cosine",
    )
    plateau_factor: float = key("plateau: factor by which the learning rate is multiplied.", 0.1, gt=0, lt=1)
    plateau_patience: int = key(
        "plateau: epochs without a better validation metric before the learning rate is lowered.",
        2,
        ge=1,
        le=100_000,
        unit="epochs",
    )
    restart_schedule: bool = key("Restart warm-up and schedule in each phase of the strategy.", False)
    dropout: float = key("Probability of dropout before the head.", 0.0, ge=0, lt=1)
    label_smoothing: float = key("Label smoothing.", 0.0, ge=0, lt=1)
    class_weights: Literal["none", "balanced"] = key(
        "`balanced`: all classes have equal weight in the loss; with balanced sampling, as drawn.",
        "none",
    )
    sampling: Literal["natural", "balanced"] = key(
        "`balanced`: each class is drawn equally often in an epoch; cases of rare classes repeat.", "natural"
    )
    mixup: float = key(
        "Mix pairs of images and their labels (mixup); alpha of the beta distribution, 0: off.",
        0.0,
        ge=0,
        le=100,
    )
    cutmix: float = key(
        "Paste a patch of one image into another, labels by area (CutMix); alpha of the beta distribution, 0: off.",
        0.0,
        ge=0,
        le=100,
    )
    ema: float = key(
        "Decay per step of the EMA of the weights, which is then evaluated and saved; 0: no EMA.",
        0.0,
        ge=0,
        lt=1,
    )
    patience: int = key(
        "Epochs without a better validation metric, in the strategy's last phase, before training ends; 0: never.",
        0,
        ge=0,
        le=100_000,
        unit="epochs",
    )
    gradient_clip_norm: float = key("Largest gradient norm; 0: no clipping.", 0.0, ge=0, le=1e9)
    precision: Literal["float32", "bfloat16", "auto"] = key(
        "Numerical precision; `auto`: bfloat16 where the hardware supports it, else float32.",
        "float32",
    )
    workers: int = key(
        "Processes that load images in parallel; results do not depend on it.",
        2,
        ge=0,
        le=256,
        unit="processes",
    )
    save_steps: int = key(
        "Steps between checkpoints; 0: at the end of each epoch.", 0, ge=0, le=10**9, unit="steps"
    )
    max_unreadable_files: int = key(
        "Unreadable files that a run tolerates; one more ends it.", 0, ge=0, le=10**9, unit="files"
    )


class EvaluationSection(Section):
    """Protocol, intervals and decision threshold."""

    protocol: str = key(
        "Name of the evaluation protocol; empty: that of the dataset.",
        "",
        pattern=r"^[A-Za-z0-9_./-]*$",
        expected="the name of a protocol",
    )
    bootstrap: int = key(
        "Bootstrap resamples of groups for each interval.", 2000, ge=10, le=100_000, unit="resamples"
    )
    threshold: Literal["youden", "sensitivity", "specificity"] = key(
        "Rule for the decision threshold, chosen on validation: the highest Youden index, or at least "
        "`threshold_target` sensitivity or specificity.",
        "youden",
    )
    threshold_target: float = key(
        "Sensitivity or specificity that the threshold must reach on validation; only with these two rules.",
        0.95,
        gt=0,
        lt=1,
    )
