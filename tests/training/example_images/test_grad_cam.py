"""Grad-CAM by its equations, and mistakes as the confusion matrix counts them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from graftwork.common.data.targets import Target
from graftwork.common.networks.backbones import create_backbone
from graftwork.common.networks.heads import LinearHead
from graftwork.common.networks.network import Network
from graftwork.common.training.example_images.grad_cam import confident_mistakes, grad_cam

BINARY = Target("t", "binary", ("no", "yes"))


def network(name: str = "test_resnet") -> Network:
    backbone = create_backbone(name, weights=None, seed=0)
    return Network(backbone, LinearHead(backbone.width, 2, seed=1)).eval()


def test_grad_cam_is_what_its_equations_say() -> None:
    net = network()
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    found = grad_cam(net, images, torch.tensor([1, 0]))
    # average pooling and a linear head: the weights of equation 1 are the head's, divided by the cells
    maps = net.backbone.maps(images).detach()
    weight = net.head.linear.weight[[1, 0]].detach()[:, :, None, None] / maps[0, 0].numel()
    cam = (weight * maps).sum(1, keepdim=True).relu()
    cam = torch.nn.functional.interpolate(cam, (64, 64), mode="bilinear", align_corners=False)[:, 0]
    wanted = cam / cam.amax((1, 2), keepdim=True).clamp(min=1e-12)
    assert found.shape == (2, 64, 64)
    assert 0 <= found.min() <= found.max() <= 1
    np.testing.assert_allclose(found, wanted.numpy(), atol=1e-4)


def test_grad_cam_leaves_the_network_as_it_was() -> None:
    net = network("test_vit")
    for parameter in net.parameters():
        parameter.requires_grad_(False)
    size = net.backbone.input_size
    found = grad_cam(net, torch.randn(1, 3, size, size), torch.tensor([0]))
    assert found.shape == (1, size, size)
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in net.parameters())


def table(rows: list[tuple[str, str, float]], part: str = "test") -> pd.DataFrame:
    return pd.DataFrame(
        [(case, f"g{case}", part, f"{case}.png", truth, 1 - yes, yes) for case, truth, yes in rows],
        columns=["case", "group", "part", "path", "target", "score_no", "score_yes"],
    )


def test_the_most_confident_mistake_comes_first_and_right_cases_are_left_out() -> None:
    rows = [("a", "no", 0.7), ("b", "no", 0.9), ("c", "yes", 0.2), ("d", "yes", 0.9), ("e", "no", 0.1)]
    found = confident_mistakes(pd.concat([table(rows), table([("v", "no", 0.99)], "validation")]), BINARY)
    assert found["case"].tolist() == ["b", "c", "a"]
    assert found["predicted"].tolist() == ["yes", "no", "yes"]
    assert found["score"].tolist() == pytest.approx([0.9, 0.8, 0.7])
    assert len(confident_mistakes(table(rows), BINARY, most=1)) == 1


def test_the_threshold_decides_what_is_wrong() -> None:
    rows = [("a", "no", 0.4), ("b", "yes", 0.4), ("c", "no", 0.2)]
    found = confident_mistakes(table(rows), BINARY, threshold=0.3)
    assert found["case"].tolist() == ["a"]
    assert confident_mistakes(table(rows), BINARY)["case"].tolist() == ["b"]


def test_an_unknown_label_is_no_mistake() -> None:
    frame = table([("a", "no", 0.9)])
    frame["target"] = None
    assert confident_mistakes(frame, BINARY).empty


def test_of_many_labels_only_those_that_a_case_lacks() -> None:
    target = Target("t", "multi-label", ("x", "y"))
    frame = pd.DataFrame(
        {
            "case": ["a", "b"], "group": ["a", "b"], "part": "test", "path": ["a", "b"],
            "target_x": [0.0, 1.0], "target_y": [np.nan, 0.0], "score_x": [0.8, 0.9], "score_y": [0.99, 0.6],
        }
    )  # fmt: skip
    found = confident_mistakes(frame, target)
    assert list(zip(found["case"], found["predicted"], strict=True)) == [("a", "x"), ("b", "y")]
