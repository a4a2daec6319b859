"""The files of a run, read and verified: their checksums, their keys and the types of their values."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graftwork.common.errors import RunError
from graftwork.common.files.checksums import verified
from graftwork.common.files.untrusted_files import (
    check_keys,
    parse_json,
    read_bytes,
    read_json,
    read_text,
)
from graftwork.common.runs.training_state import State, state_from
from graftwork.common.wording import cut_text

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor


LEDGER = ("epoch", "stage", "parameters", "learning", "rate", "norm", "phase", "source")
QUARANTINE = ("case", "stage", "reason")
_BEGUN = ("recipe.toml", "manifest.parquet", "split.csv", "files.parquet", "environment.json", "network.json",
          "frozen.json")  # fmt: skip
_TEXT, _NUMBER = (str, type(None)), (int, float, type(None))
_WHOLE = (int, type(None))
_ENVIRONMENT: dict[str, type | tuple[type, ...]] = {
    "recipe": str, "data": str, "seconds": _NUMBER, "graftwork": _TEXT, "started": _TEXT, "finished": _TEXT,
    "precision": _TEXT, "device": _TEXT, "threads": _WHOLE, "versions": (dict, type(None)), "processes": _WHOLE,
}  # fmt: skip
_NETWORK: dict[str, type | tuple[type, ...]] = {
    "backbone": _TEXT, "preprocessing": (dict, type(None)), "stages": (list, type(None)), "weights": (dict, type(None)),
    "targets": (list, type(None)), "parameters": _NUMBER,
}  # fmt: skip


def remedy_of(name: str) -> str:
    """How a file of a run is had again."""
    if name in _BEGUN:
        return "restore the file from a copy of the run, or begin a new run with --out elsewhere"
    if name == "metrics.json":
        return "make it again with `graftwork evaluate` and the folder of the run"
    return "remove predictions.parquet and metrics.json, then `graftwork resume` the run: it is written again"


def _json(place: Path) -> Any:
    remedy = remedy_of(place.name)
    return read_json(verified(place, remedy=remedy), RunError, remedy=remedy)


def read_environment(place: Path) -> dict[str, Any]:
    """What environment.json says.

    Raises:
        RunError: it is damaged. The same holds for each function here.
    """
    return check_keys(_json(place), _ENVIRONMENT, place, RunError)


def read_network(place: Path) -> dict[str, Any]:
    """What network.json says."""
    return check_keys(_json(place), _NETWORK, place, RunError)


def read_frozen(place: Path) -> dict[str, Any]:
    """What frozen.json says; nothing where there is no such file."""
    found = check_keys(_json(place), {}, place, RunError) if place.is_file() else {}
    for number, decided in found.items():
        check_keys(decided, {"keep": bool, "why": str}, f"{place}, {number}", RunError)
    return found


def read_log(place: Path) -> list[dict[str, Any]]:
    """The lines of log.jsonl."""
    remedy = remedy_of(place.name)
    found = []
    for number, line in enumerate(read_text(verified(place, remedy=remedy), RunError).split("\n"), 1):
        try:
            found += [parse_json(line)] if line else []
        except ValueError as error:
            raise RunError(f"line {number} is damaged: {error}", where=place, remedy=remedy) from error
    return [check_keys(each, {"epoch": int, "seconds": _NUMBER}, place, RunError) for each in found]


def read_ledger(place: Path) -> pd.DataFrame:
    """The rows of ledger.csv."""
    import pandas as pd

    remedy = remedy_of(place.name)
    content = read_bytes(verified(place, remedy=remedy), RunError)
    try:
        found = pd.read_csv(io.BytesIO(content))
    except ValueError as error:  # that of the parser too
        raise RunError(f"damaged ({cut_text(error)})", where=place, remedy=remedy) from error
    lacking = [name for name in LEDGER[:6] if name not in found]  # the others were added later
    numbers = [
        name
        for name in ("epoch", "parameters", "learning", "rate")
        if name in found and found[name].dtype.kind not in "biuf"
    ]
    if lacking or (numbers and len(found)):
        what = f"no column {', '.join(lacking)}" if lacking else f"no numbers in {', '.join(numbers)}"
        raise RunError(f"damaged: {what}", where=place, remedy=remedy)
    return found


def read_quarantine(place: Path) -> list[dict[str, str]]:
    """The files that could not be read: case, stage, reason; none where there is no such file."""
    if not place.is_file():
        return []
    remedy = remedy_of(place.name)
    text = read_text(verified(place, remedy=remedy), RunError)
    try:
        rows = list(csv.DictReader(io.StringIO(text, newline=""), strict=True))
    except csv.Error as error:
        raise RunError(f"damaged ({error})", where=place, remedy=remedy) from error
    if any(set(row) != set(QUARANTINE) or None in row.values() for row in rows):
        raise RunError(f"damaged: its columns are not {', '.join(QUARANTINE)}", where=place, remedy=remedy)
    return rows


def read_index(place: Path) -> list[dict[str, Any]]:
    """The list in an index.json; empty where there is no such file."""
    if not place.is_file():
        return []
    found = _json(place)
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise RunError("damaged: expected a list of objects", where=place, remedy=remedy_of(place.name))
    return found


def read_saved(folder: Path) -> tuple[dict[str, Tensor], dict[str, Tensor], State]:
    """The model, the optimizer and the state in a folder `last` or `best`."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    remedy = "remove the folder last to train this run again"
    names = ("model.safetensors", "optimizer.safetensors", "state.json")
    model, held, said = (verified(folder / name, remedy=remedy) for name in names)
    state = state_from(read_json(said, RunError, remedy=remedy), said)
    found = []
    for place in (model, held):
        try:
            found.append(load(read_bytes(place, RunError, remedy=remedy)))
        except (SafetensorError, ValueError, TypeError, KeyError, RuntimeError) as error:
            raise RunError(f"damaged ({cut_text(error)})", where=place, remedy=remedy) from error
    return found[0], found[1], state
