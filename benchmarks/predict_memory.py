"""Peak memory of `graftwork predict` on few and on many images.

A small network is trained for one epoch and predicts on small synthetic images, each number of images in a separate
process. The output has the peak resident memory (ru_maxrss of getrusage, also of the worker processes), the resident
memory after the fifth and after the last batch, files per second, and the ratio of the peaks.

    make bench NAME=predict_memory
    make bench NAME=predict_memory ARGS='--few 500 --many 20000 --size 64'
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from graftwork.common.verbs import run, synthesize

RECIPE = """
title = "A small network"
dataset = "chest_xray/kermany"

[backbone]
name = "test_efficientnet"

[image]
size = {size}

[strategy]
name = "scratch"

[training]
epochs = 1
batch_size = 8
workers = 0

[evaluation]
bootstrap = 50
"""

CHILD = """
import json, resource, sys, time
from graftwork.common.verbs import predict
run, folder, out, workers = sys.argv[1:]
resident = []
def note(*_):  # MiB after each batch: what the peak of the start would hide
    with open("/proc/self/statm") as file:
        resident.append(int(file.read().split()[1]) * resource.getpagesize() / 2**20)
start = time.perf_counter()
done = predict(run, folder, out, workers=int(workers), progress=note)
seconds = time.perf_counter() - start
peaks = [resource.getrusage(who).ru_maxrss / 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
found = {"files": done.files, "seconds": seconds, "own": peaks[0], "loading": peaks[1]}
print(json.dumps({**found, "first": resident[4], "last": resident[-1]}))
"""


def write_images(folder: Path, count: int, size: int) -> Path:
    """Grey images of noise, a hundred in each folder."""
    rng = np.random.default_rng(0)
    for number in range(count):
        place = folder / f"{number // 100:04}" / f"{number % 100:04}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (size, size), np.uint8)).save(place)
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--few", type=int, default=1000)
    parser.add_argument("--many", type=int, default=10_000)
    parser.add_argument(
        "--size", type=int, default=32, help="side of the images and of the network input, px"
    )
    parser.add_argument("--workers", type=int, default=2)
    wish = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        recipe = place / "small.toml"
        recipe.write_text(RECIPE.format(size=wish.size), "utf-8")
        data = synthesize("chest_xray/kermany", place / "set", cases=48, seed=1)
        trained = run(recipe, data, place / "runs").folder
        peaks = []
        for count in (wish.few, wish.many):
            folder = write_images(place / f"images-{count}", count, wish.size)
            words = [str(trained), str(folder), str(place / f"{count}.csv"), str(wish.workers)]
            done = subprocess.run(
                [sys.executable, "-c", CHILD, *words], check=True, stdout=subprocess.PIPE, text=True
            )
            found = json.loads(done.stdout)
            peaks.append(found["own"])
            print(
                f"{found['files']:,} files: peak {found['own']:.0f} MiB (a loading process "
                f"{found['loading']:.0f} MiB), {found['first']:.1f} MiB after the fifth batch, "
                f"{found['last']:.1f} MiB after the last, {found['files'] / found['seconds']:.0f} files a second"
            )
        print(f"ratio of the peaks {peaks[1] / peaks[0]:.3f}")


if __name__ == "__main__":
    main()
