"""Write docs/reference/command-line.md and recipe-keys.md from the code: `make docs`.

A test compares these files with what this program would write, so they cannot fall behind.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

REFERENCE = Path(__file__).resolve().parent / "reference"
EXIT_CODES = {
    0: "done",
    1: "done, and something was found (`check`, `doctor`)",
    2: "wrong use, or input that cannot be used: the message says what, where and what to do",
    70: "a fault of graftwork itself",
    75: "stopped by SIGTERM or SIGUSR1 after the state was written; `graftwork resume RUN` goes on",
    130: "stopped by Ctrl-C; `graftwork resume RUN` goes on",
}
NOTE = "<!-- Written by `make docs` from the code; change it there. -->\n\n"


def command_line() -> str:
    """Every verb with its usage, arguments and options, from the command line itself."""
    from typer.main import get_command

    from graftwork.cli import app

    whole = get_command(app)
    lines = [
        "# The command line",
        "",
        NOTE.strip(),
        "",
        *_prose(whole.help),
        *_table(whole.params, "Options that stand before a verb"),
        "`--install-completion` switches on completion with the tab key.",
        "",
        "## Exit codes",
        "",
        "| code | means |",
        "| --- | --- |",
        *(f"| {code} | {meaning} |" for code, meaning in EXIT_CODES.items()),
        "",
    ]
    for path, verb in _verbs(whole, ()):
        usage = " ".join(["graftwork", *path, *_usage(verb)])
        lines += [f"## {' '.join(path)}", "", "```text", usage, "```", "", *_prose(verb.help)]
        lines += _table(verb.params, "")
        lines += _prose(verb.epilog)
    return "\n".join(lines).rstrip() + "\n"


def recipe_keys() -> str:
    """Every key of a recipe, as `graftwork show recipe-keys` prints it."""
    from graftwork.common.verbs import show

    lines = [
        "# The keys of a recipe",
        "",
        NOTE.strip(),
        "",
        "A recipe is a TOML file. `graftwork show NAME` prints one, `graftwork cp NAME` copies it, and `key=value`",
        "on the command line overrides a key, as in `training.epochs=3`. `graftwork schema` writes the JSON Schema",
        "by which an editor completes and checks a recipe; `graftwork show recipe-keys` prints this page.",
        "",
        show("recipe-keys").text,
    ]
    return "\n".join(lines).rstrip() + "\n"


def _verbs(group: Any, path: tuple[str, ...]) -> list[tuple[tuple[str, ...], Any]]:
    found: list[tuple[tuple[str, ...], Any]] = []
    for name, verb in group.commands.items():
        if verb.hidden:
            continue
        found += _verbs(verb, (*path, name)) if hasattr(verb, "commands") else [((*path, name), verb)]
    return found


def _usage(verb: Any) -> list[str]:
    words = ["[OPTIONS]"] if any(_is_option(each) and not each.hidden for each in verb.params) else []
    for each in verb.params:
        if not _is_option(each):
            name = _metavar(each) if each.required else f"[{_metavar(each)}]"
            words.append(f"{name}..." if each.nargs == -1 else name)
    return words


def _table(params: list[Any], title: str) -> list[str]:
    rows = []
    for each in params:
        if getattr(each, "hidden", False):
            continue
        name = ", ".join([*each.opts, *each.secondary_opts]) if _is_option(each) else _metavar(each)
        if _is_option(each) and not getattr(each, "is_flag", False):
            name += f" {_metavar(each)}"
        rows.append(f"| `{name}` | {_cell(getattr(each, 'help', None) or '')} | {_default(each)} |")
    heading = [f"{title}:", ""] if title and rows else []
    return [*heading, "| name | what it says | default |", "| --- | --- | --- |", *rows, ""] if rows else []


def _is_option(param: Any) -> bool:
    return bool(param.param_type_name == "option")


def _metavar(param: Any) -> str:
    return str(param.metavar).strip("[].") if param.metavar else str(param.name).upper()


def _default(param: Any) -> str:
    if param.required:
        return "required"
    value = param.default
    return "" if value is None or value is False else f"`{value}`"


def _prose(text: str | None) -> list[str]:
    """Paragraphs of help as Markdown lines. What stands below \\b keeps its lines: a head, and a block if indented."""
    lines: list[str] = []
    for part in re.split(r"\n\s*\n|\n(?=\s*[\b])", (text or "").split("\f")[0].strip("\n")):
        if not part.strip(" \b\n"):
            continue
        if "\b" not in part:
            lines += [" ".join(part.split()), ""]
            continue
        head, *rest = part.replace("\b", "").strip("\n").splitlines()
        if rest and all(line.startswith("  ") for line in rest):
            lines += [head.strip(), "", "```", *(line.strip() for line in rest), "```", ""]
        else:
            lines += [" ".join([head, *rest]), ""]
    return lines


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


PAGES = {"command-line.md": command_line, "recipe-keys.md": recipe_keys}


def main() -> None:
    for name, page in PAGES.items():
        (REFERENCE / name).write_text(page(), encoding="utf-8")
        sys.stdout.write(f"docs/reference/{name}\n")


if __name__ == "__main__":
    main()
