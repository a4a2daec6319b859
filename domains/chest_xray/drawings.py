"""Drawn chest radiographs for the synthetic datasets."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np


def draw(patient: np.random.Generator, image: np.random.Generator, kind: str) -> np.ndarray:
    """A drawn frontal chest radiograph of a child.

    Args:
        patient: draws the anatomy.
        image: draws size, position, exposure and disease.
        kind: "normal"; "bacteria": one or two consolidated lobes; "virus": streaky haze in both lungs.

    Returns:
        [H, W] float32 in 0..1, air dark and bone light; H from 176 to 271, W from 0.85 to 1.9 times H.
    """
    import numpy as np
    from PIL import Image

    height = int(image.integers(176, 272))
    width = int(height * float(np.exp(image.normal(0.28, 0.16)).clip(0.85, 1.9)))

    def step(distance: np.ndarray, soft: float) -> np.ndarray:
        return 0.5 + 0.5 * np.tanh(distance / soft)

    def clouds(chance: np.random.Generator, cells: int) -> np.ndarray:
        coarse = chance.normal(size=(cells, max(2, cells * width // height))).astype(np.float32)
        smooth = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
        return np.asarray(smooth, dtype=np.float32)

    # body coordinates: y from -1 (neck) to 1 (belly), x to both sides in the same measure; the patient's left
    # is at the right of the image
    down, right = np.meshgrid(
        np.linspace(-1, 1, height, dtype=np.float32),
        np.linspace(-1, 1, width, dtype=np.float32) * np.float32(width / height),
        indexing="ij",
    )
    angle, zoom = image.normal(0, 0.045), image.uniform(1.0, 1.2)
    down, right = down - np.float32(image.normal(0, 0.07)), right - np.float32(image.normal(0, 0.07))
    x = ((right * np.cos(angle) + down * np.sin(angle)) / zoom).astype(np.float32)
    y = ((down * np.cos(angle) - right * np.sin(angle)) / zoom).astype(np.float32)
    side, out = np.sign(x), np.abs(x)

    chest, top = patient.uniform(0.70, 0.84), patient.uniform(-0.86, -0.74)
    floor = patient.uniform(0.46, 0.62) + image.normal(0, 0.03)  # the breath is the image's
    heart_x, heart_y = patient.uniform(0.08, 0.16), floor - patient.uniform(0.20, 0.30)
    heart_w, heart_h = patient.uniform(0.28, 0.38), patient.uniform(0.34, 0.46)

    flank = chest + 0.12 - 0.10 * step(-y - 0.55, 0.2) + 0.04 * y
    body = step(flank - out, 0.03) * (1 - 0.18 * (out / flank).clip(0, 1) ** 4)
    arm = np.exp(-(((out - chest - 0.36 + 0.55 * (y + 0.5)) / 0.17) ** 2)) * step(0.1 - y, 0.15)
    shoulder = np.exp(-((((out - 0.35) / 0.75) ** 2) ** 2) - ((y + 0.80 + 0.1 * out) / 0.22) ** 2)
    jaw = patient.uniform(0.0, 1.0) * step(1 - (x / 0.34) ** 2 - ((y + 1.12) / 0.3) ** 2, 0.15)
    tissue = np.maximum.reduce([body, 0.6 * arm, 0.85 * shoulder, jaw])

    span = ((y - floor) / (floor - top)).clip(-1, 0.5)  # -1 at the apex, 0 at the diaphragm
    edge = chest * np.sqrt((1 - np.abs(span) ** 2.2).clip(0, 1)) * (0.98 - 0.04 * span)
    dome = floor - 0.15 * np.exp(-(((out - 0.42 * chest) / 0.36) ** 2)) - 0.04 * (side < 0) + 0.15 * out**2
    middle = 0.15 + 0.04 * np.exp(-(((y + 0.2) / 0.2) ** 2)) + 0.05 * step(y, 0.2)
    lung = step(edge - out, 0.03) * step(dome - y, 0.025) * step(out - middle, 0.03) * step(y - top, 0.06)
    heart = step(1 - np.sqrt(((x - heart_x) / heart_w) ** 2 + ((y - heart_y) / heart_h) ** 2), 0.10)
    heart = np.maximum(heart, 0.9 * step(0.21 - np.abs(x - 0.02), 0.04) * step(y - top - 0.15, 0.15))
    heart = heart * step(floor + 0.12 - y, 0.1)

    wave, turn = patient.uniform(7.2, 8.6), 2 * np.pi * patient.uniform()
    back = (0.5 + 0.5 * np.cos(np.pi * wave * (y + 0.34 * out**2 - 0.22 * out) + turn)) ** 2
    front = (0.5 + 0.5 * np.cos(np.pi * 0.85 * wave * (y - 0.62 * out) + turn)) ** 4
    cage = step(edge + 0.06 - out, 0.03) * step(out - 0.06, 0.03) * step(floor + 0.3 - y, 0.1)
    cage = cage * step(y - top + 0.02, 0.04)
    collar = np.exp(-(((y - top - 0.06 + 0.16 * np.sin(5 * (out - 0.1))) / 0.028) ** 2))
    collar = collar * step(out - 0.1, 0.04) * step(0.72 - out, 0.05)
    spine = step(0.09 - out, 0.03) * (0.7 + 0.3 * np.cos(2 * np.pi * 5.5 * y + turn))
    wall = np.exp(-(((out - edge - 0.01) / 0.025) ** 2)) * step(floor - y, 0.1) * step(y - top - 0.1, 0.05)

    hilum = np.exp(-(((out - 0.22) / 0.2) ** 2) - ((y + 0.02) / 0.3) ** 2)
    vessels = np.abs(clouds(patient, 26)) * (0.25 + hilum) + 0.5 * np.abs(clouds(patient, 50)) * hilum

    air = lung * (1 - 0.9 * heart)
    air = air * (1 - _disease(image, kind, x, y, chest, top, floor, clouds).clip(0, 0.95))

    dense = 0.08 * tissue + 0.46 * tissue * (1 - 0.80 * air)
    dense = dense + tissue * (0.11 * heart + 0.15 * spine + 0.11 * collar + 0.06 * wall)
    dense = dense + (0.12 * back + 0.05 * front * (out > 0.2)) * cage * (0.6 + 0.4 * air)
    dense = dense + 0.05 * lung * vessels + 0.14 * tissue * step(y - dome, 0.03) * (1 - 0.5 * heart)
    dense = dense + 0.025 * tissue * clouds(image, 5) + 0.012 * tissue * clouds(image, 24)

    # exposure: how dark, how hard, how grainy; then the shutters at the border
    low, high = image.uniform(0.0, 0.08), image.uniform(0.76, 0.98)
    shown = ((dense - low) / (high - low)).clip(0, 1) ** image.uniform(0.75, 1.35)
    shown = shown * image.uniform(0.85, 1.0) + image.uniform(0.0, 0.05)
    shown = shown + image.uniform(0.008, 0.03) * image.standard_normal(shown.shape, dtype=np.float32)
    shown[: int(height * 0.14), : int(width * 0.10)] += _mark(image, int(height * 0.14), int(width * 0.10))
    border = int(image.integers(0, 3)) * width // 40
    if border:
        shown[:, :border] = shown[:, -border:] = 0.02
    return np.asarray(shown.clip(0, 1))


def _disease(
    chance: np.random.Generator,
    kind: str,
    x: np.ndarray,
    y: np.ndarray,
    chest: float,
    top: float,
    floor: float,
    clouds: Callable[[np.random.Generator, int], np.ndarray],
) -> np.ndarray:
    """The share of air that is replaced at each place: a consolidated lobe, or streaky haze in both lungs."""
    import numpy as np

    if kind == "normal":
        return np.zeros_like(x)
    if kind == "bacteria":
        place = np.zeros_like(x)
        for _ in range(1 + int(chance.integers(0, 5) < 2)):
            side = chance.choice([-1.0, 1.0])
            at_x = side * chest * chance.uniform(0.40, 0.62)
            at_y = top + (floor - top) * chance.uniform(0.34, 0.80)
            wide, high = chance.uniform(0.26, 0.42), chance.uniform(0.26, 0.44)
            far = np.sqrt(((x - at_x) / wide) ** 2 + ((y - at_y) / high) ** 2) + 0.20 * clouds(chance, 9)
            place = np.maximum(place, chance.uniform(0.82, 1.0) * (0.5 + 0.5 * np.tanh((1 - far) / 0.22)))
        # air that is left in the bronchi shows as dark streaks
        return np.asarray(place * (1 - 0.22 * np.abs(clouds(chance, 22))))
    out = np.abs(x)
    hilum = np.exp(-(((out - 0.3) / 0.3) ** 2) - ((y - 0.05) / 0.45) ** 2)
    streaks = np.abs(clouds(chance, 18)) + np.abs(clouds(chance, 36))
    return np.asarray(hilum * (chance.uniform(0.22, 0.40) + chance.uniform(0.16, 0.30) * streaks))


def _mark(chance: np.random.Generator, height: int, width: int) -> np.ndarray:
    """The side marker (a letter) in the corner of most images."""
    import numpy as np
    from PIL import Image, ImageDraw

    sheet = Image.new("L", (width, height))
    if chance.integers(0, 4):
        place = (int(chance.integers(2, 6)), int(chance.integers(2, 8)))
        ImageDraw.Draw(sheet).text(place, "R", fill=190)
    return np.asarray(sheet, dtype=np.float32) / 255
