"""Speed of the feature cache: an epoch with cached features compared with an epoch through the frozen backbone.

Both use the same synthetic radiographs and give the same features. They alternate on the same machine. One line per
pair prints the ratio of their times; the last line prints the median.

    make bench NAME=feature_cache
    make bench NAME=feature_cache ARGS='--cases 400 --pairs 5'
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from graftwork.common.data.domain import dataset
from graftwork.common.files import file_sha256
from graftwork.common.freezing.feature_cache import compute_features
from graftwork.common.loading.samples import ImageSource
from graftwork.common.loading.transforms import Preprocessing
from graftwork.common.networks.backbones import create_backbone
from graftwork.common.networks.cutting import Cut, cut, fingerprint
from graftwork.common.networks.weights import load_weights


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", type=int, default=128)
    parser.add_argument("--pairs", type=int, default=3)
    wish = parser.parse_args()
    weights = load_weights("tf_efficientnet_lite0")
    backbone = create_backbone("tf_efficientnet_lite0", weights=weights, seed=0).eval()
    backbone.to(memory_format=torch.channels_last)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found = dataset("chest_xray/kermany")
        found.synthesize(folder / "set", cases=wish.cases, seed=0)
        manifest = found.read(folder / "set")
        source = ImageSource(manifest, Preprocessing(224, "squash", "bilinear", backbone.mean, backbone.std))
        contents = [file_sha256(manifest.file(row)) for row in range(len(manifest))]

        whole = cut(backbone, len(backbone.stages), size=224)
        assert isinstance(whole, Cut)

        def once(cache: str) -> tuple[float, np.ndarray]:
            os.environ["GRAFTWORK_CACHE"] = str(folder / cache)
            start = time.perf_counter()
            kept = compute_features(
                backbone,
                source,
                contents,
                cut=whole,
                weights=fingerprint(backbone, len(backbone.stages)),
                device=torch.device("cpu"),
            )
            found = kept.gather(np.arange(len(manifest)))
            return time.perf_counter() - start, found

        once("warm")
        ratios = []
        for pair in range(wish.pairs):
            without, one = once(f"empty-{pair}")
            kept, two = once("warm")
            assert np.array_equal(one, two)
            ratios.append(without / kept)
            print(
                f"{len(manifest)} images: {without:.2f} s without, {kept:.4f} s cached, ratio {ratios[-1]:.0f}"
            )
        threads = torch.get_num_threads()
        print(f"median ratio {statistics.median(ratios):.0f} ({wish.pairs} pairs, {threads} threads)")


if __name__ == "__main__":
    main()
