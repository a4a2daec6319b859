"""Drawn heads and hippocampi for the synthetic datasets."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def draw_stack(
    chance: np.random.Generator, slices: int, size: int, *, pre: bool = True, post: bool = True
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """A stack of slices through a head with a blob in it that is bright in FLAIR.

    Args:
        chance: draws the anatomy, the blob, the exposure and the noise.
        slices: how many, from the neck upwards. size: side of a slice in px.
        pre, post: whether these sequences were taken; FLAIR replaces a missing one.

    Returns:
        images [slices, size, size, 3] (pre-contrast, FLAIR, post-contrast) and masks [slices, size, size].
        The blob reaches into one slice at least, and never into all if there are more than two.
    """
    import numpy as np

    lines = np.linspace(-1, 1, size)
    height = np.linspace(-0.85, 0.85, slices)
    z, y, x = np.meshgrid(height, lines, lines, indexing="ij")
    turn = chance.uniform(-0.35, 0.35)
    x, y = x - chance.uniform(-0.12, 0.12), y - chance.uniform(-0.12, 0.12)
    x, y = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    wide, long = chance.uniform(0.52, 0.7), chance.uniform(0.66, 0.86)
    # from the middle of the head outwards, 1 at its surface
    radius = np.sqrt((x / wide) ** 2 + (y / long) ** 2 + (z / 1.1) ** 2)
    brain, skull = radius < 0.84, (radius > 0.9) & (radius < 1.0)
    apart, reach = chance.uniform(0.1, 0.16), chance.uniform(0.16, 0.3)
    fluid = ((np.abs(x) - apart) / 0.07) ** 2 + (y / reach) ** 2 + (z / 0.5) ** 2 < 1

    blob = _blob(chance, x, y, z, height, brain, (wide, long)) & brain
    texture = _smooth(chance, z.shape, (0.6, size / 24, size / 24))
    light = 1 + 0.25 * _smooth(chance, z.shape, (slices, size / 3, size / 3))
    bright, contrast = chance.uniform(0.3, 0.42), chance.uniform(0.25, 0.4)
    images = np.empty((*z.shape, 3))
    for channel, (inside, in_fluid, in_blob) in enumerate(
        ((0.0, -0.22, -0.06), (0.0, -0.25, 1.0), (0.06, -0.2, 0.08))
    ):
        tissue = bright + inside + 0.07 * texture + in_fluid * fluid
        tissue = np.where(blob, tissue + contrast * in_blob, tissue)
        whole = np.where(brain, tissue, np.where(skull, chance.uniform(0.45, 0.8), 0.0)) * light
        images[..., channel] = whole + chance.normal(0, 0.025, z.shape) * (radius < 1.05)
    if not pre:
        images[..., 0] = images[..., 1]
    if not post:
        images[..., 2] = images[..., 1]
    return (np.clip(images, 0, 1) * 255).astype(np.uint8), blob


def _blob(
    chance: np.random.Generator,
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    z: NDArray[np.float64],
    height: NDArray[np.float64],
    brain: NDArray[np.bool_],
    sides: tuple[float, float],
) -> NDArray[np.bool_]:
    """A lump with an uneven surface around the middle of one slice."""
    import numpy as np

    inner = height[1:-1] if len(height) > 2 else height  # so that the outer slices are without it
    middle = float(inner[chance.integers(len(inner))])
    angle, out = chance.uniform(0, 2 * np.pi), chance.uniform(0.3, 0.5)
    across, along = out * sides[0] * np.cos(angle), out * sides[1] * np.sin(angle)
    broad, deep = chance.uniform(0.16, 0.3, 2)
    # never so tall that it reaches the farther one of the outermost slices
    tall = min(chance.uniform(0.35, 0.65), 0.95 * float(np.max(np.abs(middle - height[[0, -1]]))))
    distance = ((x - across) / broad) ** 2 + ((y - along) / deep) ** 2 + ((z - middle) / tall) ** 2
    uneven = 0.25 * _smooth(chance, brain.shape, (1, brain.shape[1] / 16, brain.shape[2] / 16))
    inside: NDArray[np.bool_] = distance + uneven < 1
    return inside


def draw_hippocampus(
    chance: np.random.Generator, shape: tuple[int, int, int]
) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    """A block of tissue with a bent body in it, thick and low in front, thin and high behind.

    Args:
        chance: draws where it lies, how it is bent, the tissue and the noise.
        shape: voxels from left to right, back to front, foot to head.

    Returns:
        the image, 0..1, and the labels: 0 around it, 1 its front part, 2 its rear part; axes as `shape`.
    """
    import numpy as np

    x, y, z = np.meshgrid(*(np.linspace(-1, 1, side) for side in shape), indexing="ij")
    shift = chance.uniform(-0.1, 0.1, 3)
    along = (y - shift[1]) / chance.uniform(0.65, 0.75)  # -1 its rear end, 1 its front end
    bend, lean, rise = chance.uniform(0.15, 0.3), chance.uniform(-0.2, 0.2), chance.uniform(0.15, 0.3)
    across = x - shift[0] - bend * along**2 + bend / 2 - lean * along
    upward = z - shift[2] + rise * along
    thick = chance.uniform(0.32, 0.4) + 0.1 * np.clip(along, -1, 1)
    body = (across / thick) ** 2 + (upward / (0.8 * thick)) ** 2 + np.abs(along) ** 4 < 1
    front = along > chance.uniform(0.05, 0.2)
    labels = np.where(body, np.where(front, 1, 2), 0).astype(np.uint8)

    blur = (shape[0] / 8, shape[1] / 8, shape[2] / 8)
    tissue = 0.38 + 0.08 * _smooth(chance, shape, blur)
    # a dark cleft of fluid beside it and a bright sheet above it, as landmarks
    cleft = ((across - 1.4 * thick) / 0.14) ** 2 + (upward / 0.5) ** 2 + (along / 1.2) ** 2 < 1
    sheet = np.abs(upward - 1.3 * thick) < 0.1
    image = np.where(cleft, 0.1, np.where(sheet, 0.72, tissue))
    image = np.where(body, chance.uniform(0.5, 0.56) + 0.02 * _smooth(chance, shape, blur), image)
    return np.clip(image + chance.normal(0, 0.03, shape), 0, 1), labels


def _smooth(
    chance: np.random.Generator, shape: tuple[int, ...], blur: tuple[float, ...]
) -> NDArray[np.float64]:
    """Noise of mean 0 and deviation 1 without fine detail; `blur` in elements of each axis."""
    import numpy as np
    from scipy.ndimage import gaussian_filter

    noise = np.asarray(gaussian_filter(chance.normal(size=shape), blur, mode="reflect"), dtype=np.float64)
    even: NDArray[np.float64] = (noise - noise.mean()) / max(float(noise.std()), 1e-9)
    return even
