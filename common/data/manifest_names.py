"""Names in the columns of a manifest: brought into their normal form, counted, and matched with known ones."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from graftwork.common.names import clean_name, clean_names, name_key

if TYPE_CHECKING:
    import pandas as pd


_FILE = re.compile(
    r"[^/]\.(?:jpe?g|jpe|jfif|png|tiff?|bmp|gif|webp|dcm|dicom|ima|nii|nrrd|mha|mhd|mgz|npy|svs|mp4|avi|mov|mpg|csv|tsv)"
    r"(?:\.(?:gz|bz2|xz|zip))?$",
    re.IGNORECASE,
)


def is_file_name(text: str) -> bool:
    """Whether a text ends as the name of an image, a volume, a video or a table does."""
    return bool(_FILE.search(text.rstrip()))


def normal_column(column: pd.Series, *, numbers: bool = False) -> tuple[pd.Series, str]:
    """A column with each text in its normal form, and the sentence that says what was changed ("" for nothing).

    Args:
        column: any values; names of files stay as they are, since a file is found by its exact name.
        numbers: numbers become text as `clean_names` writes them (7.0 is "7"), for columns of identifiers.

    Returns:
        The column itself where nothing is changed; else one of objects. White space alone becomes an empty text.
    """
    import numpy as np
    import pandas as pd

    values = column.tolist()
    chosen = [
        row
        for row, value in enumerate(values)
        if (isinstance(value, str) and not is_file_name(value))
        or (numbers and isinstance(value, int | float | np.number) and not isinstance(value, bool))
    ]
    plain = [values[row].item() if isinstance(values[row], np.generic) else values[row] for row in chosen]
    names, changed = clean_names(plain)
    wanted = [
        (name or "") if isinstance(value, str) else name for value, name in zip(plain, names, strict=True)
    ]
    missing = {number for number, value in enumerate(plain) if value != value}
    altered = [
        number
        for number, (value, name) in enumerate(zip(plain, wanted, strict=True))
        if value != name and number not in missing
    ]
    if not altered:
        return column, ""
    for number in altered:
        values[chosen[number]] = wanted[number]
    example = next((plain[number] for number in altered if isinstance(plain[number], str)), "")
    said = (
        f"{changed:,} {'value' if changed == 1 else 'values'} of `{column.name}` had white space or Unicode forms "
        f"normalised, such as {example!r}"
    )
    return pd.Series(values, index=column.index, name=column.name, dtype=object), said if changed else ""


def nearest_name(name: str, known: Sequence[str]) -> str:
    """The known name that looks like `name`, or else is spelt most like it; "" where none is near."""
    alike = [each for each in known if name_key(each, signs=True) == name_key(name, signs=True)]
    near = difflib.get_close_matches(clean_name(name).casefold(), [each.casefold() for each in known], n=1)
    spelt = [each for each in known if near and each.casefold() == near[0]]
    return next(iter((*alike, *spelt)), "")
