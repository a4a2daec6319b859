"""How a protocol evaluates folders of masks: regions of labels, definition of distances, rules for empty masks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from graftwork.common.errors import UsageError


@dataclass(frozen=True)
class Region:
    """An evaluated region: all voxels of some labels.

    `dilation` (voxels), `smallest` and `touching` (other regions) are for lesion-wise scores; see `lesion_wise`.
    """

    name: str
    labels: tuple[int, ...]
    dilation: int = 3
    smallest: float = 50.0
    touching: tuple[str, ...] = ()


@dataclass(frozen=True)
class MaskRules:
    """How masks are read and evaluated.

    Attributes:
        regions: evaluated one by one. labels: the allowed labels; empty: the mask has two values, or grey levels
            0 to 255 with the foreground above `above` (see `mask_values.foreground`).
        hausdorff: the definition of the 95th percentile.
        empty_both: overlap and distance where neither mask holds the region; None: undefined.
        empty_one: the distance, mm, where one mask holds it; None: undefined. Dice is then 0.
        lesions: the rules of lesion-wise scores; empty for none. penalty: mm, for a missed or false positive lesion.
        least: a Jaccard index below it counts as 0 in `least_jaccard`.

    Raises:
        UsageError: no region, or a region with a label that is not allowed.
    """

    regions: tuple[Region, ...]
    labels: tuple[int, ...] = ()
    above: float = 0.0
    hausdorff: Literal["max-of-directed", "pooled", "surfel-weighted"] = "max-of-directed"
    empty_both: tuple[float, float] | None = (1.0, 0.0)
    empty_one: float | None = None
    lesions: Literal["", "2023", "2024"] = ""
    penalty: float = 374.0
    least: float = 0.65

    def __post_init__(self) -> None:
        names = [region.name for region in self.regions]
        odd = [
            region.name
            for region in self.regions
            if self.labels and not set(region.labels) <= set(self.labels)
        ]
        lost = [each for region in self.regions for each in region.touching if each not in names]
        if not self.regions or odd or lost:
            raise UsageError(
                f"regions {names}: {odd or lost or 'none'} cannot be evaluated",
                where="mask rules",
                remedy="define at least one region, of labels in `labels`, touching only regions of this list",
            )

    @property
    def distance(self) -> str:
        """The definition of the 95 % Hausdorff distance, in words."""
        return {
            "max-of-directed": "the larger of the two directed 95th percentiles (linearly interpolated) of the "
            "distance from one boundary to the nearest point of the other",
            "pooled": "the 95th percentile (linearly interpolated) of the distances from either boundary to the "
            "nearest point of the other, both lists pooled",
            "surfel-weighted": "the larger of the two directed distances within which 95 % of the area of one surface "
            "is from the other",
        }[self.hausdorff]

    def sentences(self) -> str:
        """The rules as sentences of a methods section."""
        two = (
            "the value other than 0 of a mask of two values (0 and 1, 0 and 255), or the values above "
            f"{self.above:g} of 255 in a mask of grey levels"
        )
        regions = "; ".join(
            f"{each.name} is {'label ' + ', '.join(map(str, each.labels)) if self.labels else two}"
            for each in self.regions
        )
        both = (
            "undefined"
            if self.empty_both is None
            else f"{self.empty_both[0]:g} and a distance {self.empty_both[1]:g} mm"
        )
        one = "undefined" if self.empty_one is None else f"{self.empty_one:g} mm"
        lesions = (
            f" Lesion-wise scores follow the rules of {self.lesions}; a missed or false positive lesion has a Dice "
            f"coefficient of 0 and a distance of {self.penalty:g} mm."
            if self.lesions
            else ""
        )
        return (
            f"Regions: {regions}. The 95 % Hausdorff distance is {self.hausdorff}. Where neither mask holds a region "
            f"the Dice coefficient is {both}; where one does, it is 0 and a distance {one}. Distances are in mm, from "
            f"the spacing in the files' headers.{lesions}"
        )
