"""Write docs/reference/command-line.md, recipe-keys.md and python-api.md from the code: `make docs`.

A test compares these files with the output of this program, so that they stay up to date.
"""

from __future__ import annotations

import inspect
import re
import sys
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import Any

REFERENCE = Path(__file__).resolve().parent / "reference"
EXIT_CODES = {
    0: "done",
    1: "done, with findings (`check`, `doctor`, `predict`, `evaluate`, `compare`)",
    2: "wrong usage or invalid input: the message says what is wrong, where, and how to fix it",
    70: "a bug in graftwork",
    75: "stopped by SIGTERM or SIGUSR1 after saving the state; `graftwork resume RUN` resumes",
    130: "stopped by Ctrl-C; `graftwork resume RUN` resumes",
}
NOTE = "<!-- `make docs` writes this page from the code. Change the code, not this page. -->\n\n"


def command_line() -> str:
    """Every command with its usage, arguments and options."""
    from typer.main import get_command

    from graftwork.cli import app

    whole = get_command(app)
    lines = [
        "# Commands",
        "",
        NOTE.strip(),
        "",
        *_prose(whole.help),
        *_table(whole.params, "Options before a command"),
        "`--install-completion` turns on completion with the tab key.",
        "",
        "## Exit codes",
        "",
        "| code | meaning |",
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
    """Every key of a recipe, like `graftwork show recipe-keys`."""
    from graftwork.common.verbs import show

    lines = [
        "# Recipe keys",
        "",
        NOTE.strip(),
        "",
        "A recipe is a TOML file. `graftwork show NAME` prints one, `graftwork cp NAME` copies it, and `key=value`",
        "on the command line changes a key, as in `training.epochs=3`. `graftwork schema` writes a JSON Schema,",
        "with which an editor completes and checks a recipe. `graftwork show recipe-keys` prints this page.",
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
    return [*heading, "| name | meaning | default |", "| --- | --- | --- |", *rows, ""] if rows else []


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
    """Paragraphs of help as Markdown. Text after \\b keeps its lines: a heading, and a code block if indented."""
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


def python_api() -> str:
    """The public names of `graftwork`, the loaders and `graftwork.evaluation`, from signatures and docstrings."""
    import graftwork
    from graftwork import evaluation, weights
    from graftwork.common.data import domain

    loaders = [domain.dataset(name).module for name in domain.names("datasets")]
    lines = [
        "# Python API", "", NOTE.strip(), "",
        "- [graftwork](#graftwork): every command as a function, and datasets for pandas, torch and MONAI",
        "- [Loaders](#loaders): `read` of each dataset",
        "- [graftwork.evaluation](#graftworkevaluation): metrics, intervals and comparisons for your own studies",
        "", "## graftwork", "",
    ]  # fmt: skip
    for name in sorted(graftwork.__all__, key=str.lower):
        found = getattr(graftwork, name)
        if found is weights:
            for each in weights.__all__:
                lines += _member(f"weights.{each}", getattr(weights, each))
        elif not inspect.ismodule(found):
            lines += _member(name, found)
    lines += ["## Loaders", ""]
    for module in loaders:
        lines += _member(f"{module.__name__}.read", module.read)
    lines += ["## graftwork.evaluation", "", *_docstring(evaluation.__doc__ or "")]
    for name in sorted(evaluation.__all__, key=str.lower):
        lines += _member(name, getattr(evaluation, name))
    return "\n".join(lines).rstrip() + "\n"


def _member(name: str, found: Any) -> list[str]:
    """A heading, the signature and the docstring of a function or class; for a value its type."""
    lines = [f"### {name}", ""]
    if not callable(found):
        return [*lines, f"A `{type(found).__name__}`.", ""]
    head = f"{'class ' if inspect.isclass(found) else ''}{name.rpartition('.')[2]}"
    pieces, answer = _parameters(found)
    call = f"{head}({', '.join(pieces)}){answer}"
    if len(call) > 110:
        call = "\n".join([f"{head}(", *(f"    {piece}," for piece in pieces), f"){answer}"])
    return [*lines, "```text", call, "```", "", *_docstring(inspect.getdoc(found) or "")]


def _parameters(found: Any) -> tuple[list[str], str]:
    """The parameters of a function or class as written, and what it returns."""
    signature = inspect.signature(found)
    pieces: list[str] = []
    kinds = [each.kind for each in signature.parameters.values()]
    for number, each in enumerate(signature.parameters.values()):
        if each.kind is each.KEYWORD_ONLY and each.KEYWORD_ONLY not in kinds[:number]:
            pieces.append("*")
        stars = {each.VAR_POSITIONAL: "*", each.VAR_KEYWORD: "**"}.get(each.kind, "")
        kind = "" if each.annotation is each.empty else f": {_annotation(each.annotation)}"
        default = "" if each.default is each.empty else f" = {_value(each.default)}"
        pieces.append(f"{stars}{each.name}{kind}{default}")
    returns = signature.return_annotation
    shown = not inspect.isclass(found) and returns is not signature.empty
    return pieces, f" -> {_annotation(returns)}" if shown else ""


def _annotation(found: Any) -> str:
    text = found if isinstance(found, str) else inspect.formatannotation(found)
    return re.sub(r"\b(?:[a-z_]+\.)+(?=[A-Z])", "", text)


def _value(default: Any) -> str:
    return default.__name__ if callable(default) else re.sub(r"<.*>", "...", repr(default))


def _docstring(text: str) -> list[str]:
    """A docstring as Markdown: paragraphs, indented code as blocks, and sections such as Args as lists."""
    lines: list[str] = []
    for paragraph in re.split(r"\n\s*\n", inspect.cleandoc(text)):
        head, _, rest = paragraph.partition("\n")
        if re.fullmatch(r"(Args|Returns|Raises|Attributes|Yields):", head):
            items = [" ".join(rest.split())] if head == "Returns:" else _items(rest)
            lines += [f"**{head[:-1]}**", "", *items, ""]
        elif all(line.startswith("    ") for line in paragraph.splitlines()):
            lines += ["```text", *(line[4:] for line in paragraph.splitlines()), "```", ""]
        elif re.match(r"[-*] ", head):
            lines += [*paragraph.splitlines(), ""]
        else:
            lines += [" ".join(paragraph.split()), ""]
    return lines


def _items(text: str) -> Iterable[str]:
    items: list[str] = []
    for line in textwrap.dedent(text).splitlines():
        if line.startswith(" ") and items:
            items[-1] += f" {line.strip()}"
        else:
            items.append(line.strip())
    for item in items:
        name, colon, meaning = item.partition(": ")
        is_name = colon and re.fullmatch(r"[\w*., ]+", name)
        yield f"- `{name}`: {meaning}" if is_name else f"- {item}"


PAGES = {"command-line.md": command_line, "recipe-keys.md": recipe_keys, "python-api.md": python_api}


def main() -> None:
    for name, page in PAGES.items():
        (REFERENCE / name).write_text(page(), encoding="utf-8")
        sys.stdout.write(f"docs/reference/{name}\n")


if __name__ == "__main__":
    main()
