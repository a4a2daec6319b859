"""The provenance of a run: machine, libraries, and a fingerprint of every input file."""

from __future__ import annotations

import contextlib
import os
import platform
from collections.abc import Callable
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graftwork.common.cache.file_facts import Cache
from graftwork.common.errors import RunError
from graftwork.common.processor import processor_name
from graftwork.common.wording import short_list

if TYPE_CHECKING:
    import pandas as pd

    from graftwork.common.data.manifest import Manifest


Progress = Callable[[str, int, int], None]
"""Called with (what is being done, units done, units in all)."""

LIBRARIES = (
    "torch",
    "torchvision",
    "timm",
    "numpy",
    "pandas",
    "pillow",
    "pydicom",
    "albumentations",
    "accelerate",
    "monai",
    "nibabel",
)


def fingerprints(manifest: Manifest, progress: Progress | None = None) -> pd.DataFrame:
    """The fingerprint of each file that a run starts with: its images in the manifest's order, then its masks.

    Returns:
        columns case, file (relative to the root), size, mtime_ns, sha256 ("" for a missing one).
    """
    import pandas as pd

    names = ["path", *(target.columns[0] for target in manifest.targets if target.kind == "segmentation")]
    named = [manifest.frame[["case", name]].set_axis(["case", "file"], axis=1).dropna() for name in names]
    frame = pd.concat(named, ignore_index=True)
    rows = []
    with Cache() as cache:
        for done, file in enumerate(frame["file"], 1):
            try:
                found = cache.fingerprint(manifest.root / file)
                rows.append((found.size, found.mtime_ns, found.sha256))
            except OSError:
                rows.append((-1, -1, ""))  # training or prediction will say so, within the recipe's tolerance
            if progress is not None and (done % 64 == 0 or done == len(frame)):
                progress("reading files", done, len(frame))
    return frame.join(pd.DataFrame(rows, columns=["size", "mtime_ns", "sha256"]))


def check_same_rows(then: Manifest, now: Manifest, *, where: Path) -> None:
    """Compare the table that a run began with and the one that its loader reads now, in whatever order.

    Raises:
        RunError: cases are new or gone, or their groups, targets or covariates changed; says which.
    """
    before, after = (
        then.frame.set_index("case").astype("string"),
        now.frame.set_index("case").astype("string"),
    )
    new, gone = after.index.difference(before.index), before.index.difference(after.index)
    what = f"{len(new)} cases are new, {len(gone)} are gone"
    if not len(new) and not len(gone):
        after = after.reindex(index=before.index, columns=before.columns)
        changed = [name for name in before.columns if not before[name].equals(after[name])]
        if not changed:
            return
        what = f"the column{'s' * (len(changed) > 1)} {', '.join(changed)} changed"
    raise RunError(
        f"the run started with other data: {what}", where=where, remedy="start a new run with another --out"
    )


def check_unchanged(root: Path, then: pd.DataFrame, *, where: Path) -> None:
    """Compare the files below `root` with the `fingerprints` that a run began with; a new time alone is no change.

    Raises:
        RunError: files are missing or have another content; says which.
    """
    faults: list[str] = []
    with Cache() as cache:
        for name, size, mtime, sha256 in zip(
            then["file"], then["size"], then["mtime_ns"], then["sha256"], strict=True
        ):
            file = root / name
            try:
                status = file.stat()
                touched = (status.st_size, status.st_mtime_ns) != (size, mtime)
                if touched and cache.fingerprint(file).sha256 != sha256:
                    faults.append(f"{file.name} has another content" if sha256 else f"{file.name} is new")
            except OSError:
                if sha256:
                    faults.append(f"{file.name} is missing")
    if faults:
        raise RunError(
            f"the data under {root} are not those this run began with: {short_list(faults)}",
            where=where,
            remedy="restore them, or begin a new run with --out elsewhere",
        )


def library_versions() -> dict[str, str]:
    """The libraries that results depend on, with their versions here."""
    versions = {}
    for library in LIBRARIES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[library] = metadata.version(library)
    return versions


def describe_machine(name: str, manifest: Manifest) -> dict[str, Any]:
    """What environment.json begins with: versions, machine, where the images lie. `name`: the recipe's."""
    from graftwork import __version__

    return {
        "graftwork": __version__,
        "recipe": name,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": processor_name(),
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "versions": library_versions(),
        "data": str(manifest.root.absolute()),
        "synthetic": manifest.synthetic,
        "checksums": True,  # that its folders list them: where they do not, somebody removed the list
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "finished": None,
        "seconds": 0.0,
    }
