"""Read the parts of a split from the table that `Split.save` wrote, for the manifest that it was made of."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np

from graftwork.common.data.manifest import Manifest
from graftwork.common.errors import TableError
from graftwork.common.wording import cut_text, short_list

if TYPE_CHECKING:
    import pandas as pd


def saved_parts(path: str | os.PathLike[str], manifest: Manifest) -> pd.Series:
    """The part of each case of a manifest, in its order, whatever the order of the table's lines.

    Raises:
        TableError: no table with the columns case, group and part; a case twice; other cases or groups than those of
            the manifest.
    """
    import pandas as pd

    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8")
    except FileNotFoundError as error:
        raise TableError("there is no such split", where=path, remedy="check the path") from error
    except (OSError, ValueError) as error:
        raise TableError(
            f"not a readable table ({error})",
            where=path,
            remedy="give the split.csv of a run, or save the split again",
        ) from error
    missing = [name for name in ("case", "group", "part") if name not in table.columns]
    if missing:
        raise TableError(
            f"column {', '.join(map(repr, missing))} is missing; found {cut_text(', '.join(map(repr, table.columns)))}",
            where=path,
            remedy="give a table with the columns case, group and part",
        )
    again = table["case"][table["case"].duplicated()]
    if len(again):
        raise TableError(
            f"cases are there twice: {short_list(map(repr, again))}",
            where=path,
            remedy="keep one line a case",
        )
    table = table.set_index("case")
    cases = manifest.frame["case"]
    if len(table) != len(cases) or not cases.isin(table.index).all():
        unknown = [*cases[~cases.isin(table.index)], *table.index[~table.index.isin(cases)]]
        raise TableError(
            f"the split has {len(table)} cases, the manifest {len(cases)}; in one of them only: "
            f"{short_list(unknown)}",
            where=path,
            remedy="give the split that was made of this manifest",
        )
    table = table.loc[cases.tolist()]
    differ = np.flatnonzero(table["group"].to_numpy() != manifest.frame["group"].to_numpy())
    if len(differ):
        raise TableError(
            f"{len(differ)} cases have another group than in the manifest, "
            f"such as {cases.iloc[differ[0]]!r} ({table['group'].iloc[differ[0]]!r}, in the manifest "
            f"{manifest.frame['group'].iloc[differ[0]]!r})",
            where=path,
            remedy="give the split that was made of this manifest",
        )
    return table["part"].reset_index(drop=True)
