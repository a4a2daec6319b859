"""Time the reading of Camtrap DP packages of 5,000 and 100,000 media, with file names that repeat.

    python benchmarks/camtrap_dp_reading.py

Each size is read in a separate process. The time grows in proportion to the number of media: 100,000 media take at
most 20 times as long as 5,000, including imports.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from graftwork.domains.camera_trap import own


def package(folder: Path, media: int) -> None:
    """Write a package: 20 deployments, media by address under 1,000 file names, an event every 30 s."""
    resources = [{"name": name, "path": f"{name}.csv"} for name in ("deployments", "media", "observations")]
    (folder / "datapackage.json").write_text(json.dumps({"resources": resources}))
    rows = [f"d{number},L{number}" for number in range(20)]
    (folder / "deployments.csv").write_text("\n".join(["deploymentID,locationID", *rows]) + "\n")
    seen, taken = [], []
    for number in range(media):
        second = 30 * (number // 20)
        when = f"2024-{1 + second // 2419200:02d}-{1 + second // 86400 % 28:02d}"
        clock = f"T{second // 3600 % 24:02d}:{second // 60 % 60:02d}:{second % 60:02d}Z"
        site = number % 20
        taken.append(
            f"m{number},d{site},{when}{clock},https://x.org/{number},IMG_{number // 20 % 1000:04d}.JPG"
        )
        kind = "animal,Vulpes vulpes" if number % 3 else "blank,"
        seen.append(f"d{site},,e{number},{when}{clock},{when}{clock},{kind}")
    (folder / "media.csv").write_text(
        "\n".join(["mediaID,deploymentID,timestamp,filePath,fileName", *taken]) + "\n"
    )
    head = "deploymentID,mediaID,eventID,eventStart,eventEnd,observationType,scientificName"
    (folder / "observations.csv").write_text("\n".join([head, *seen]) + "\n")


def main() -> None:
    """Print the seconds for each size, and the ratio of the largest to the smallest."""
    seconds = []
    for media in (5_000, 10_000, 100_000):
        with tempfile.TemporaryDirectory() as folder:
            package(Path(folder), media)
            done = subprocess.run(
                [sys.executable, __file__, folder], check=True, capture_output=True, text=True
            )
        taken, events = done.stdout.split()
        seconds.append(float(taken))
        print(f"{media:>7,} media: {seconds[-1]:6.2f} s, {int(events):,} events")
    print(f"100,000 media take {seconds[-1] / seconds[0]:.1f} times as long as 5,000")


def read(folder: str) -> None:
    """Print the seconds for reading a package, and its number of events."""
    start = time.perf_counter()
    manifest = own.read(folder)
    print(time.perf_counter() - start, manifest.frame["event"].nunique())


if __name__ == "__main__":
    read(sys.argv[1]) if len(sys.argv) > 1 else main()
