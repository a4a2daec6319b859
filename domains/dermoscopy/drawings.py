"""Drawn skin lesions for the synthetic datasets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


HEIGHT, WIDTH = 112, 150  # px, the published aspect of 3 to 4


@dataclass(frozen=True)
class _Kind:
    """How a diagnosis is drawn: colours as RGB in 0..1; the rest in shares."""

    colour: tuple[float, float, float]
    second: tuple[float, float, float]
    size: tuple[float, float]  # radius, of the image's height
    ragged: float  # of the border
    uneven: float  # of the pigment
    pattern: str


_KINDS = {
    "nv": _Kind((0.45, 0.28, 0.20), (0.36, 0.21, 0.15), (0.16, 0.30), 0.05, 0.15, "net"),
    "mel": _Kind((0.28, 0.17, 0.15), (0.16, 0.15, 0.25), (0.26, 0.42), 0.28, 0.85, "blotches"),
    "bkl": _Kind((0.52, 0.40, 0.30), (0.78, 0.70, 0.58), (0.22, 0.38), 0.12, 0.35, "cysts"),
    "bcc": _Kind((0.78, 0.50, 0.47), (0.45, 0.42, 0.52), (0.18, 0.34), 0.16, 0.30, "vessels"),
    "akiec": _Kind((0.80, 0.52, 0.46), (0.90, 0.80, 0.74), (0.22, 0.40), 0.22, 0.70, "scales"),
    "df": _Kind((0.62, 0.43, 0.34), (0.88, 0.80, 0.76), (0.16, 0.26), 0.06, 0.15, "scar"),
    "vasc": _Kind((0.60, 0.12, 0.16), (0.34, 0.06, 0.14), (0.14, 0.30), 0.08, 0.40, "lagoons"),
}


def draw(
    lesion: np.random.Generator, image: np.random.Generator, diagnosis: str
) -> tuple[np.ndarray, np.ndarray]:
    """A drawn dermoscopic image and the mask of its lesion.

    Args:
        lesion: draws what the lesion is: its shape, pigment and the skin around it.
        image: draws what the photograph adds: place, turn, zoom, light, hairs, dark corners.
        diagnosis: one of the codes of the published table.

    Returns:
        [112, 150, 3] float32 in 0..1; [112, 150] bool, the lesion.
    """
    import numpy as np

    kind = _KINDS[diagnosis]
    down, right = np.meshgrid(
        np.linspace(-1, 1, HEIGHT), np.linspace(-WIDTH / HEIGHT, WIDTH / HEIGHT, WIDTH), indexing="ij"
    )
    turn, zoom = image.uniform(0, 2 * np.pi), image.uniform(0.85, 1.2)
    down, right = down - image.normal(0, 0.12), right - image.normal(0, 0.15)
    x = (right * np.cos(turn) + down * np.sin(turn)) / zoom
    y = (down * np.cos(turn) - right * np.sin(turn)) / zoom

    angle, far = np.arctan2(y, x), np.hypot(x, y * lesion.uniform(1.0, 1.35))
    radius = 2 * lesion.uniform(*kind.size)
    outline = np.full_like(angle, radius)
    for wave in range(2, 8):
        strength = kind.ragged * radius * lesion.normal(0, 0.6) / np.sqrt(wave)
        outline += strength * np.cos(wave * angle + lesion.uniform(0, 2 * np.pi))
    inside = outline - far
    body = (0.5 + 0.5 * np.tanh(inside / lesion.uniform(0.05, 0.09)))[..., None]

    uneven = _clouds(lesion, x, y, 3.0)
    marks = _pattern(lesion, kind.pattern, x, y, far / radius, uneven)
    blend = (kind.uneven * 0.5 * (1 + np.tanh(2 * uneven)))[..., None]
    base = np.array(kind.colour) + lesion.normal(0, 0.02, 3)
    tissue = base * (1 - blend) + np.array(kind.second) * blend
    tissue = tissue * (1 - 0.6 * marks[..., None]) + np.array(kind.second) * 0.6 * marks[..., None]

    skin = np.array([0.86, 0.68, 0.60]) * lesion.uniform(0.88, 1.08) + lesion.normal(0, 0.015, 3)
    shown = skin * (1 - body) + tissue * body
    shown = shown + 0.02 * _clouds(image, right, down, 9.0)[..., None]
    for _ in range(int(image.integers(0, 5))):  # hairs
        bend, slope, place = image.normal(0, 0.25), image.normal(0, 0.8), image.uniform(-1, 1)
        hair = np.exp(-(((down - place - slope * right - bend * right**2) / 0.012) ** 2))
        shown = shown * (1 - 0.55 * hair[..., None])
    light = image.uniform(0.9, 1.1) * (1 + 0.06 * image.normal() * right + 0.06 * image.normal() * down)
    shown = shown * light[..., None] * (1 + image.normal(0, 0.03, 3))
    if image.integers(0, 3) == 0:  # the dark corners of the lens
        shown = shown * (0.5 - 0.5 * np.tanh((np.hypot(right, down) - 1.35) / 0.06))[..., None]
    shown = shown + 0.012 * image.standard_normal(shown.shape)
    return np.asarray(shown.clip(0, 1), dtype=np.float32), np.asarray(inside > 0)


def _clouds(chance: np.random.Generator, x: np.ndarray, y: np.ndarray, cells: float) -> np.ndarray:
    """A smooth random field of about unit deviation, in the coordinates that it is asked in."""
    import numpy as np

    field = np.zeros_like(x)
    for _ in range(12):
        along, across = cells * chance.normal(0, 1, 2)
        field += np.cos(along * x + across * y + chance.uniform(0, 2 * np.pi))
    return np.asarray(field / np.sqrt(6))


def _pattern(
    chance: np.random.Generator,
    name: str,
    x: np.ndarray,
    y: np.ndarray,
    depth: np.ndarray,
    uneven: np.ndarray,
) -> np.ndarray:
    """Where the structure of a kind of lesion is seen, in 0..1; `depth` is 0 in its middle and 1 at its edge."""
    import numpy as np

    if name == "net":
        wave = chance.uniform(26, 34)
        return np.asarray(((np.sin(wave * x) * np.sin(wave * y)) ** 2) * np.exp(-depth))
    if name == "blotches":
        return np.asarray(0.5 + 0.5 * np.tanh(4 * (_clouds(chance, x, y, 7.0) - 0.4)))
    if name == "scar":
        return np.asarray(np.exp(-((depth / 0.45) ** 2)))
    if name == "scales":
        return np.asarray(0.5 + 0.5 * np.tanh(5 * (_clouds(chance, x, y, 16.0) - 0.6)))
    spots = np.zeros_like(x)
    count, width = {"cysts": (14, 0.035), "lagoons": (9, 0.10), "vessels": (6, 0.03)}[name]
    for _ in range(count):
        at_x, at_y = chance.normal(0, 0.25, 2)
        if name == "vessels":  # a branch: bright along a bent line
            slope, bend = chance.normal(0, 1.2), chance.normal(0, 1.5)
            line = y - at_y - slope * (x - at_x) - bend * (x - at_x) ** 2
            spots = np.maximum(spots, np.exp(-((line / width) ** 2)))
        else:
            spots = np.maximum(spots, np.exp(-(((x - at_x) ** 2 + (y - at_y) ** 2) / width**2)))
    return np.asarray(spots * (0.8 + 0.2 * np.tanh(uneven)))
