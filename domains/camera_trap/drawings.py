"""Drawn camera-trap frames for the synthetic datasets of this domain."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from graftwork.common.data.synthetic import generator

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image, ImageDraw


SPECIES = ("badger", "deer", "fox", "hare")
LEAST = 24  # cases, below which a species would hardly occur
SIZE = (160, 120)  # px: width, height
_RARE = "badger"  # occurs at every fourth location only
_STRIP = 10  # px at the bottom, black, with date and temperature
_COLOURS = {"badger": (92, 92, 96), "deer": (150, 104, 62), "fox": (196, 98, 40), "hare": (158, 140, 112)}


@dataclass(frozen=True)
class Shot:
    """A frame that is to be drawn: where and when, in which event and as which of its frames, and what is in it
    (species, one entry an animal; empty: nothing)."""

    location: int
    time: datetime
    event: int
    number: int
    frames: int
    animals: tuple[str, ...]

    @property
    def night(self) -> bool:
        """Whether the lamp was on."""
        return not 7 <= self.time.hour < 19


def plan(dataset: str, cases: int, seed: int) -> list[Shot]:
    """What happens before the cameras: events at fifteen or more locations, a third of them empty, one frame or a
    burst of three each, hours apart; now and then two species."""
    locations = max(15, cases // 12)
    chance = generator(dataset, seed, "plan")
    clock = [
        datetime(2021, 5, 1) + timedelta(minutes=int(chance.integers(0, 1440))) for _ in range(locations)
    ]
    shots: list[Shot] = []
    event = 0
    while len(shots) < cases:
        place = event % locations
        turn = event // locations
        clock[place] += timedelta(minutes=int(chance.integers(130, 900)), seconds=int(chance.integers(0, 60)))
        if place % 4 == 0 and turn % 2 == 0:
            first = _RARE
        else:
            first = ("deer", "", "fox", "hare", "", "fox", "deer", "hare", "")[(event + turn) % 9]
        herd = int(chance.choice([1, 1, 1, 2, 2, 3])) if first else 0
        frames = min(int(chance.integers(1, 4)), cases - len(shots))
        mixed = event % 29 == 23 and bool(first)
        for number in range(1, frames + 1):
            animals = (first,) * herd
            if mixed and number == 1:
                animals += ("hare" if first != "hare" else "deer",)
            # one or two seconds apart, as triggers are
            moment = clock[place] + timedelta(seconds=2 * (number - 1) if turn % 2 else number - 1)
            shots.append(Shot(100 + 3 * place, moment, event, number, frames, animals))
        event += 1
    return shots


def draw(
    dataset: str, seed: int, shot: Shot
) -> tuple[Image.Image, list[tuple[str, tuple[float, float, float, float]]]]:
    """The image of a shot, and of each animal its species and box (x, y, w, h in px; may reach outside).

    What stands behind the animals depends on the location alone, the light on the event, the rest on the frame.
    """
    import numpy as np
    from PIL import Image, ImageDraw

    width, height = SIZE
    scene = _scene(generator(dataset, seed, "place", shot.location))
    light = generator(dataset, seed, "light", shot.location, shot.event)
    frame = generator(dataset, seed, "frame", shot.location, shot.event, shot.number)
    image = Image.fromarray(scene)
    pen = ImageDraw.Draw(image)
    boxes = []
    step = 14 * (shot.number - 1)  # a burst shows it walking
    for index, species in enumerate(shot.animals):
        size = light.uniform(0.75, 1.25) * (22 if species == "hare" else 34)
        x = (
            light.uniform(0.12, 0.55) * width
            + step
            + 26 * index
            - (light.uniform(30, 60) if index == 2 else 0)
        )
        y = height * light.uniform(0.58, 0.74) + 5 * (index % 2)
        facing = 1 if light.integers(0, 2) else -1
        boxes.append((species, _animal(pen, species, x, y, size, facing)))
    pixels: np.ndarray = np.asarray(image, dtype=np.float64)
    if shot.night:
        grey = pixels.mean(axis=2, keepdims=True).repeat(3, axis=2)
        across, down = np.meshgrid(np.linspace(-1, 1, width), np.linspace(-1, 1, height))
        lamp = np.exp(-1.1 * (across**2 + (down - 0.25) ** 2))[..., None]
        pixels = grey * lamp * light.uniform(0.65, 0.95)
    else:
        pixels = pixels * light.uniform(0.75, 1.15) + light.uniform(-8, 12)
    pixels = pixels + frame.normal(0, 5 if shot.night else 3, pixels.shape)
    finished = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    pen = ImageDraw.Draw(finished)
    pen.rectangle((0, height - _STRIP, width, height), fill=(0, 0, 0))
    said = f"{shot.time:%Y-%m-%d %H:%M:%S}  {int(light.integers(-3, 24))}C"
    pen.text((3, height - _STRIP - 1), said, fill=(235, 235, 235))
    return finished, boxes


def _scene(chance: np.random.Generator) -> np.ndarray:
    """What a camera always sees: sky, ground, grass, trunks and stones; uint8 [height, width, 3]."""
    import numpy as np
    from PIL import Image, ImageDraw

    width, height = SIZE
    horizon = chance.uniform(0.12, 0.5) * height
    far = chance.uniform(90, 215, 3) * np.array([0.8, 1.0, 0.9])
    near = chance.uniform(60, 150, 3) * np.array([1.0, 1.05, 0.6])
    down = np.arange(height, dtype=np.float32)[:, None, None]
    ground = np.clip((down - horizon) / 6, 0, 1)
    pixels = far * (1 - ground) + near * ground + np.zeros((1, width, 1))
    for cells, strength in ((4, 46), (9, 30), (24, 16)):  # patches of light and of plants
        patch = Image.fromarray(chance.normal(0, 1, (cells, cells)).astype(np.float32))
        pixels = pixels + strength * np.asarray(patch.resize(SIZE, Image.Resampling.BICUBIC))[..., None]
    image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    pen = ImageDraw.Draw(image)
    for _ in range(int(chance.integers(1, 6))):
        x, wide = chance.uniform(0, width), chance.uniform(4, 16)
        foot = horizon + chance.uniform(2, 30)
        tone = int(chance.integers(25, 90))
        pen.polygon(
            [(x, 0), (x + wide * 0.8, 0), (x + wide, foot), (x - wide * 0.2, foot)],
            fill=(tone + 12, tone + 4, tone),
        )
    for _ in range(int(chance.integers(0, 4))):
        x, y, wide = chance.uniform(0, width), chance.uniform(horizon, height), chance.uniform(6, 20)
        tone = int(chance.integers(90, 170))
        pen.ellipse((x, y, x + wide, y + wide * 0.6), fill=(tone, tone, tone - 6))
    return np.asarray(image)


def _animal(
    pen: ImageDraw.ImageDraw, species: str, x: float, y: float, size: float, facing: int
) -> tuple[float, float, float, float]:
    """Draw an animal with its feet at (x, y) and return its box. Each species has its own shape."""
    colour = _COLOURS[species]
    shade = tuple(int(0.55 * tone) for tone in colour)
    pale = tuple(min(255, int(1.5 * tone) + 30) for tone in colour)
    spots: list[tuple[float, float]] = []

    def at(right: float, up: float) -> tuple[float, float]:
        spots.append((x + facing * right * size, y - up * size))
        return spots[-1]

    def blob(right: float, up: float, wide: float, high: float, fill: tuple[int, ...]) -> None:
        (left, low), (far, top) = at(right - wide, up - high), at(right + wide, up + high)
        pen.ellipse((min(left, far), min(low, top), max(left, far), max(low, top)), fill=fill)

    def line(points: list[tuple[float, float]], thick: float, fill: tuple[int, ...]) -> None:
        pen.line([at(*point) for point in points], fill=fill, width=max(1, round(thick * size)))

    if species == "deer":  # tall, thin legs, a neck and antlers
        for leg in (-0.4, -0.28, 0.25, 0.38):
            line([(leg, 0.0), (leg, 0.75)], 0.07, shade)
        blob(0, 0.85, 0.52, 0.22, colour)
        line([(0.42, 0.9), (0.62, 1.35)], 0.18, colour)
        blob(0.72, 1.4, 0.17, 0.1, colour)
        line([(0.62, 1.45), (0.5, 1.85), (0.68, 1.75)], 0.05, pale)
        line([(0.66, 1.45), (0.8, 1.85)], 0.05, pale)
    elif species == "fox":  # long and low, a thick tail with a pale tip
        for leg in (-0.3, 0.3):
            line([(leg, 0.0), (leg, 0.35)], 0.1, shade)
        blob(0, 0.45, 0.48, 0.17, colour)
        blob(-0.75, 0.5, 0.36, 0.12, colour)
        blob(-1.05, 0.55, 0.12, 0.09, pale)
        blob(0.55, 0.6, 0.18, 0.14, colour)
        line([(0.48, 0.7), (0.5, 0.88)], 0.1, shade)
    elif species == "hare":  # round, with long ears
        blob(0, 0.4, 0.42, 0.38, colour)
        blob(0.35, 0.8, 0.22, 0.2, colour)
        line([(0.3, 0.95), (0.18, 1.55)], 0.13, shade)
        line([(0.42, 0.95), (0.4, 1.6)], 0.13, shade)
        blob(-0.42, 0.35, 0.12, 0.12, pale)
    else:  # broad, dark, a head with white stripes
        blob(0, 0.38, 0.62, 0.34, colour)
        for leg in (-0.38, 0.34):
            line([(leg, 0.0), (leg, 0.15)], 0.2, (30, 30, 32))
        blob(0.68, 0.34, 0.26, 0.18, (240, 240, 236))
        line([(0.46, 0.36), (0.94, 0.34)], 0.1, (20, 20, 22))
    left, right = min(spot[0] for spot in spots), max(spot[0] for spot in spots)
    top, low = min(spot[1] for spot in spots), max(spot[1] for spot in spots)
    return left, top, right - left, low - top
