"""Grad-CAM, and the images of the most confident errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from graftwork.common.data.images import read_image
from graftwork.common.errors import ImageError
from graftwork.common.files import swap_folder, write_json
from graftwork.common.loading.samples import ImageSource
from graftwork.common.training.inference import to_device

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from graftwork.common.data.targets import Target
    from graftwork.common.networks.network import Network
    from graftwork.common.runs.run_folder import Run


def grad_cam(network: Network, images: Tensor, outputs: Tensor) -> NDArray[np.float32]:
    """Grad-CAM of one output for each image (Selvaraju et al. 2017, equations 1 and 2).

    Args:
        network: in eval mode; its weights and their gradients are not touched.
        images: [B, 3, H, W], normalised.
        outputs: [B], the index of the output to explain.

    Returns:
        [B, H, W] in 0..1, each map scaled by its own maximum; all 0 where nothing speaks for the output.
    """
    with torch.enable_grad():
        maps = network.backbone.maps(images).detach().requires_grad_()
        logits = network.head(network.backbone.pooled(maps))
        (gradient,) = torch.autograd.grad(logits.gather(1, outputs[:, None]).sum(), maps)
    grid, slope = network.backbone.grid(maps.detach()), network.backbone.grid(gradient)
    weight = slope.mean((2, 3), keepdim=True)  # equation 1
    cam = (weight * grid).sum(1, keepdim=True).relu()  # equation 2
    cam = F.interpolate(cam.float(), images.shape[-2:], mode="bilinear", align_corners=False)[:, 0]
    return (cam / cam.amax((1, 2), keepdim=True).clamp(min=1e-12)).cpu().numpy()


def confident_mistakes(
    predictions: pd.DataFrame,
    target: Target,
    *,
    threshold: float | None = None,
    part: str = "test",
    most: int = 12,
) -> pd.DataFrame:
    """The wrong cases with the highest score of the predicted class, most confident first.

    Args:
        threshold: of a binary target, on the score of its positive class: what the confusion matrix counts as wrong
            is wrong here. None: the class with the highest score is predicted.

    Returns:
        columns case, group, path, target, predicted, score. Of a multi-label target each row is one label given
        to a case that does not have it.
    """
    import pandas as pd

    frame = predictions[predictions["part"] == part]
    scores = frame[list(target.scores)].to_numpy()
    classes = np.array(target.classes)
    if target.kind == "multi-label":
        wrong = frame[list(target.columns)].to_numpy() == 0
        row, label = np.nonzero(wrong & (scores > 0.5))
        truth = np.array([f"not {name}" for name in classes[label]], dtype=object)
        score = scores[row, label]
    else:
        label = scores.argmax(axis=1)
        if target.kind == "binary" and threshold is not None:
            label = (scores[:, 1] >= threshold).astype(int)
        known = frame["target"].notna().to_numpy()
        row = np.nonzero(known & (classes[label] != frame["target"].to_numpy()))[0]
        truth, label, score = frame["target"].to_numpy()[row], label[row], scores[row, label[row]]
    found = pd.DataFrame(
        {
            **{name: frame[name].to_numpy()[row] for name in ("case", "group", "path")},
            "target": truth,
            "predicted": classes[label],
            "score": score,
        }
    )
    return found.sort_values(["score", "case"], ascending=[False, True], kind="stable").head(most)


def write_mistakes(run: Run, network: Network, source: ImageSource, device: torch.device) -> None:
    """Write `mistakes/`: the most confidently wrong test images as the network saw them, with their Grad-CAM."""
    from PIL import Image

    target = run.manifest.target
    rows: dict[Any, int] = {case: row for row, case in enumerate(run.manifest.frame["case"])}
    index: list[dict[str, Any]] = []
    judged = run.evaluation
    # a threshold of another target says nothing of this one
    chosen = judged.threshold if judged.target in ("", target.name) else None
    wrong = confident_mistakes(run.predictions, target, threshold=None if chosen is None else chosen.value)
    network.eval()
    with swap_folder(run.folder / "mistakes") as folder:
        for mistake in wrong.itertuples():
            row = rows[mistake.case]
            try:
                picture = read_image(run.manifest.file(row), cover=source.preprocessing.cover)
            except ImageError:
                continue
            fitted = source.preprocessing.fitted(picture)
            inputs = torch.from_numpy(np.ascontiguousarray(source.preprocessing.normalised(fitted)))[None]
            chosen_class = target.classes.index(mistake.predicted)
            if target.kind == "ordinal":  # what spoke for "more than the class below"
                chosen_class = max(chosen_class - 1, 0)
            wanted = torch.tensor([chosen_class], device=device)
            cam = grad_cam(network, to_device(inputs, device), wanted)[0]
            name = f"{len(index) + 1:02d}"
            seen = np.repeat(fitted, 3, axis=2) if fitted.shape[2] == 1 else fitted
            for suffix, pixels in (("", seen), ("_cam", _overlay(seen, cam))):
                image = Image.fromarray((pixels * 255).round().astype(np.uint8))
                image.thumbnail((224, 224))
                image.save(folder / f"{name}{suffix}.jpg", quality=85)
            index.append(
                {
                    "case": str(mistake.case), "group": str(mistake.group), "target": str(mistake.target),
                    "predicted": str(mistake.predicted), "score": float(str(mistake.score)),
                    "picture": f"{name}.jpg", "cam": f"{name}_cam.jpg",
                }
            )  # fmt: skip
        write_json(folder / "index.json", index)


def _overlay(picture: NDArray[np.float32], cam: NDArray[np.float32]) -> NDArray[np.float32]:
    """The image in grey under the map in a palette whose lightness rises with the value (legible in greyscale)."""
    from matplotlib import colormaps

    grey = picture.mean(axis=2, keepdims=True)
    colour = colormaps["inferno"](cam)[..., :3].astype(np.float32)
    strength = 0.55 * cam[..., None]
    return np.asarray(np.clip(grey * (1 - strength) + colour * strength, 0, 1), np.float32)
