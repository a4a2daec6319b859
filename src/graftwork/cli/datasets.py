"""Commands for a machine and its data: doctor, check, synthesize and regrid."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from graftwork.cli.commands import verb
from graftwork.cli.options import Data, DatasetName, Json
from graftwork.cli.terminal import FOUND, bars, print_json, print_note, print_table, print_text
from graftwork.common import verbs

if TYPE_CHECKING:
    from graftwork.common.doctor import Checkup, Place


@verb(verbs.doctor, "doctor", "doctor --json")
def doctor(as_json: Json = False) -> int:
    found = verbs.doctor()
    if as_json:
        print_json(found.to_json())
    else:
        print_table(("this machine", ""), _checkup_rows(found))
        for each in found.advice:
            print_text(f"{each.severity}: {each.what}; {each.remedy}")
    return 0 if found.ok else FOUND


def _checkup_rows(found: Checkup) -> list[tuple[str, str]]:
    cpu, memory = found.processors, found.memory
    limits = "" if cpu.limit is None else f", limited to the time of {cpu.limit:g}"
    devices = [
        f"{device.name}{f', {device.memory_gib:g} GiB' if device.memory_gib else ''}"
        f"{f', driver {device.driver}' if device.driver else ''}"
        for device in found.devices
    ]
    rows = [
        ("graftwork", f"{found.graftwork}{', offline' if found.offline else ''}"),
        ("Python", found.python),
        ("system", found.platform),
        ("device", "; ".join(devices) or "no GPU found: training and prediction use the CPU"),
        ("CPUs", f"{cpu.allowed} of {cpu.installed}{limits} ({cpu.name})"),
        (
            "memory",
            f"{memory.available_gib:g} of {memory.total_gib:g} GiB free"
            + ("" if memory.limit_gib is None else f", limited to {memory.limit_gib:g} GiB"),
        ),
        ("/dev/shm", "missing" if found.shared_memory is None else _space(found.shared_memory)),
        (
            "cache",
            f"{found.cache.path}: {found.cache.fault or _space(found.cache)}; "
            f"uses {found.kept_gib:g} GiB, limit {found.budget_gib:g} GiB",
        ),
    ]
    rows += [
        ("extra", f"{name}: {'installed' if there else 'not installed'}")
        for name, there in found.extras.items()
    ]
    rows += [("engine", each) for each in found.engines]
    rows += [("weights", f"{backbone} ({origin})") for backbone, origin in found.weights]
    rows += [
        ("domain", f"{each.name} ({each.package}): {each.fault or ', '.join(each.datasets)}")
        for each in found.domains
    ]
    rows += [("DICOM", f"{name}: {decoder or 'no decoder'}") for name, decoder in found.decoders.items()]
    versions = {name: version or "missing" for name, version in found.libraries.items()}
    if "torch" in versions and found.torch_cuda:
        versions["torch"] += f" (CUDA {found.torch_cuda})"
    return [*rows, ("libraries", ", ".join(f"{name} {version}" for name, version in versions.items()))]


def _space(place: Place) -> str:
    return f"{place.free_gib:g} of {place.total_gib:g} GiB free"


@verb(verbs.check, "check chest_xray/kermany --data chest_xray", "check chest_xray/kermany --data D --json")
def check(
    dataset: DatasetName,
    data: Data,
    workers: Annotated[
        int | None, typer.Option(min=0, help="Processes that decode images. Default: one for each CPU.")
    ] = None,
    as_json: Json = False,
) -> int:
    with bars() as move:
        step = None if move is None else lambda done, total: move("decoding images", done, total)
        found = verbs.check(dataset, data, workers=workers, progress=step)
    if as_json:
        print_json(found.to_json())
    else:
        columns = ("severity", "kind", "where", "what", "remedy")
        if found.findings:
            print_table(columns, [[row[column] for column in columns] for row in found.rows()], whole=2)
        count = len(found.findings)
        result = f"{count} finding{'s' * (count != 1)}" if count else "no findings"
        for note in found.notes:
            print_text(f"note: {note}")
        print_text(f"{found.dataset}: {found.cases:,} cases, {found.groups:,} groups; {result}")
    return FOUND if found.findings else 0


@verb(verbs.synthesize, "synthesize chest_xray/kermany toy", "synthesize chest_xray/kermany toy --cases 200")
def synthesize(
    dataset: DatasetName,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A new or empty folder.")],
    cases: Annotated[int, typer.Option(min=1, help="Approximate number of images.")] = 60,
    seed: Annotated[int, typer.Option(min=0, help="The same seed writes the same files.")] = 0,
) -> None:
    print_text(str(verbs.synthesize(dataset, folder, cases=cases, seed=seed)))


@verb(verbs.regrid, "regrid mask.nii.gz --like image.nii.gz --out mask_regridded.nii.gz")
def regrid(
    mask: Annotated[Path, typer.Argument(metavar="MASK", help="A NIfTI file of whole numbers.")],
    like: Annotated[
        Path, typer.Option("--like", metavar="IMAGE", help="A NIfTI file on the grid that you want.")
    ],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The file to write (.nii or .nii.gz).")],
    as_json: Json = False,
) -> None:
    done = verbs.regrid(mask, like, out)
    if as_json:
        return print_json({**asdict(done), "file": str(done.file)})
    rows = [(value, f"{before:,}", f"{after:,}") for value, (before, after) in done.counts.items()]
    print_table(("value", "voxels before", "voxels after"), rows)
    if done.outside:
        print_note(f"{done.outside:,} voxels of {like} are outside {mask}; they are set to 0")
    for each in (*done.remarks, *(done.faults or ("the two grids were already the same",))):
        print_note(each)
    return print_text(str(done.file))
