"""Commands that list and show what is available by name: ls, show, cp, schema and weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from graftwork.cli.commands import verb, weights
from graftwork.cli.completion import backbones, names, words
from graftwork.cli.options import Json
from graftwork.cli.terminal import print_json, print_table, print_text
from graftwork.common import verbs


@verb(verbs.ls, "ls", "ls recipes", "ls weights --json")
def ls(
    kind: Annotated[
        str | None,
        typer.Argument(
            metavar="KIND",
            help="recipes, datasets, protocols, weights or backbones. Default: all of them.",
            autocompletion=words("recipes", "datasets", "protocols", "weights", "backbones"),
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    entries = verbs.ls(kind)  # type: ignore[arg-type]  # the function refuses an unknown kind
    if as_json:
        return print_json([asdict(entry) for entry in entries])
    last = {"recipes": "expect", "datasets": "target", "protocols": "source", "weights": "from"}
    kinds = dict.fromkeys(entry.kind for entry in entries)
    for each in kinds:
        if each == "backbones":
            print_table(*_backbone_table(entries))
        else:
            rows = [(entry.name, entry.title, entry.about) for entry in entries if entry.kind == each]
            print_table((each, "title", last[each]), rows)
        if len(kinds) > 1 and each != list(kinds)[-1]:
            print_text("")
    return None


def _backbone_table(entries: Sequence[verbs.Entry]) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
    columns = ("backbones", "family", "parameters", "multiply-adds", "size", "licence", "weights")
    found = [(entry, entry.figures) for entry in entries if isinstance(entry, verbs.BackboneEntry)]
    rows = [
        (
            entry.name, about.family, f"{about.parameters / 1e6:.1f} M", f"{about.multiply_adds / 1e9:.2f} G",
            f"{about.size} px", entry.licence, entry.about,
        )
        for entry, about in found
    ]  # fmt: skip
    return columns, rows


@verb(verbs.show, "show chest_xray/kermany_linear-probe", "show chest_xray/kermany", "show recipe-keys")
def show(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="A name that `ls` lists, backbone/NAME, or recipe-keys.",
            autocompletion=lambda incomplete: [
                *names("recipes", "datasets", "protocols")(incomplete),
                *words("recipe-keys", *backbones())(incomplete),
            ],
        ),
    ],
    kind: Annotated[
        str | None,
        typer.Option(
            "--kind",
            metavar="KIND",
            help="recipe, dataset or protocol.",
            autocompletion=words("recipe", "dataset", "protocol"),
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    found = verbs.show(name, kind)
    if not as_json:
        return print_text(found.text)
    keys = [asdict(key) for key in verbs.recipe_keys()] if found.kind == "keys" else None
    shown = {key: value for key, value in asdict(found).items() if key != "about" or value}
    return print_json({**shown, **({"keys": keys} if keys else {})})


@verb(verbs.cp, "cp chest_xray/kermany_linear-probe .", "cp chest_xray/kermany_full mine.toml")
def cp(
    recipe: Annotated[
        str,
        typer.Argument(
            metavar="RECIPE", help="A name that `ls recipes` lists.", autocompletion=names("recipes")
        ),
    ],
    to: Annotated[
        Path, typer.Argument(metavar="FOLDER_OR_FILE", help="A folder, or the new file (FILE.toml).")
    ] = Path(),
) -> None:
    print_text(str(verbs.cp(recipe, to)))


@verb(verbs.schema, "schema > recipe.schema.json")
def schema() -> None:
    print_json(verbs.schema())


@verb("List the pretrained weights that are available offline.", "weights ls", name="ls", to=weights)
def weights_ls(as_json: Json = False) -> None:
    ls("weights", as_json)


@verb(verbs.pack_weights, "weights pack weights.tar tf_efficientnet_lite0", name="pack", to=weights)
def weights_pack(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The archive to write (.tar or .zip).")],
    backbones: Annotated[
        list[str] | None,
        typer.Argument(metavar="BACKBONE", help="Names in timm. Default: all on this machine."),
    ] = None,
) -> None:
    for record in verbs.pack_weights(file, backbones or ()):
        print_text(f"{record.backbone}: {record.origin}")


@verb(verbs.unpack_weights, "weights unpack weights.tar", name="unpack", to=weights)
def weights_unpack(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="An archive written by `weights pack`.")],
) -> None:
    for record in verbs.unpack_weights(file):
        print_text(f"{record.backbone}: {record.origin}")
