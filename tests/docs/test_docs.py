"""README and docs are correct: links, commands, options, names, keys, code and versions."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
import textwrap
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from typer.main import get_command

import graftwork
from graftwork.cli import app
from graftwork.common.catalogue import ls
from graftwork.common.data import domain
from graftwork.common.data.domain import names, recipe_text
from graftwork.common.recipe import keys, load

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "data_cards").rglob("*.md")),
    *sorted((ROOT / "benchmarks").rglob("*.md")),
]
GUIDE = ROOT / "docs" / "how-to" / "add-a-dataset.md"
GUIDES = (GUIDE, ROOT / "docs" / "how-to" / "add-a-domain.md")
GUIDE_NAMES = ("plants/", "graftwork_plants", "land_cover/")  # what exists once the guide was followed
FENCE = re.compile(r"^```([a-z]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def page_id(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def blocks(path: Path, *languages: str) -> list[str]:
    return [body for language, body in FENCE.findall(path.read_text()) if language in languages]


def commands(path: Path) -> Iterator[list[str]]:
    """The words after `graftwork` of each command on a page, in code blocks and in backticks."""
    text = path.read_text()
    lines = [line for body in blocks(path, "", "bash", "sh", "console") for line in body.splitlines()]
    lines += re.findall(r"`(graftwork [^`\n]+)`", FENCE.sub("", text))
    for line in lines:
        found = re.search(r"(?:^|\s)(?:-m )?graftwork (.*)", line.strip().removeprefix("$ "))
        if found and not line.strip().startswith(("pip ", "#")):
            yield shlex.split(re.sub(r"\s&$|\s\|.*$|\s>.*$", "", found.group(1)), comments=True)


def all_commands() -> list[Any]:
    return [
        pytest.param(path, words, id=f"{page_id(path)}: {' '.join(words)}"[:90])
        for path in PAGES
        for words in commands(path)
    ]


def parse(words: list[str]) -> tuple[list[str], dict[str, Any]]:
    """The command and its parameters, parsed by the command line without running it.

    Raises:
        typer.TyperException: there is no such verb or option, or an argument is missing.
    """
    command: Any = get_command(app)
    context = command.make_context("graftwork", list(words), resilient_parsing=False)
    path: list[str] = []
    while hasattr(command, "commands"):
        rest = [*context._protected_args, *context.args]
        name, command, rest = command.resolve_command(context, rest)
        path.append(name)
        context = command.make_context(name, rest, parent=context)
    return path, context.params


def every_verb() -> dict[str, Any]:
    def walk(group: Any, path: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
        for name, verb in group.commands.items():
            if hasattr(verb, "commands"):
                yield from walk(verb, (*path, name))
            elif not verb.hidden:
                yield " ".join((*path, name)), verb

    return dict(walk(get_command(app), ()))


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate_reference", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# The reference --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["command-line.md", "recipe-keys.md", "python-api.md"])
def test_the_reference_is_up_to_date(name: str, generate: ModuleType) -> None:
    written = (ROOT / "docs" / "reference" / name).read_text()
    assert written == generate.PAGES[name](), "run `make docs`"


def test_every_verb_and_option_is_in_the_reference() -> None:
    text = (ROOT / "docs" / "reference" / "command-line.md").read_text()
    verbs = every_verb()
    assert {"run", "resume", "check", "report", "ls", "show", "cp", "doctor", "evaluate"} <= set(verbs)
    for path, verb in verbs.items():
        section = text.split(f"\n## {path}\n")[1].split("\n## ")[0]
        assert verb.help, f"{path} has no help"
        for param in verb.params:
            if param.param_type_name == "option" and not param.hidden:
                assert all(f"{option}" in section for option in param.opts), f"{path} {param.opts}"
                assert param.help, f"{path} {param.opts} has no help"


def test_every_public_name_is_in_the_reference() -> None:
    from graftwork import evaluation

    headings = re.findall(r"^### (.*)$", (ROOT / "docs/reference/python-api.md").read_text(), re.MULTILINE)
    public = [name for name in graftwork.__all__ if name not in ("weights", "evaluation")]
    loaders = [f"{domain.dataset(name).module.__name__}.read" for name in names("datasets")]
    assert not {*public, *loaders, *evaluation.__all__} - set(headings)
    assert evaluation.auroc([0, 1], [0.2, 0.8]) == 1
    with pytest.raises(AttributeError, match="nothing"):
        evaluation.nothing  # noqa: B018


def test_the_readme_is_short_and_says_first_what_graftwork_is_for() -> None:
    text = (ROOT / "README.md").read_text()
    assert len(text.split()) <= 900
    first = text.split("\n\n")[1]
    assert first.count(".") == 1 and not re.search(
        r"\b(that|which|who|how|where|when|what|because|so)\b", first
    )
    recipe = load(blocks(ROOT / "README.md", "toml")[0])
    assert recipe.strategy.name == "gradual"
    assert (ROOT / "docs" / "images" / "report.png").stat().st_size < 200_000


def test_every_key_of_a_recipe_is_in_the_reference() -> None:
    text = (ROOT / "docs" / "reference" / "recipe-keys.md").read_text()
    assert len(keys()) > 40
    for key in keys().values():
        assert key.description
        assert f"`{key.name}`" in text


def test_the_reference_names_every_file_of_a_run() -> None:
    from graftwork.common.runs import run_folder

    text = (ROOT / "docs" / "reference" / "run-folder.md").read_text()
    source = Path(str(run_folder.__file__)).read_text()
    written = set(re.findall(r'"([a-z_]+\.(?:toml|json|jsonl|csv|parquet))"', source))
    assert len(written) >= 5
    assert not [name for name in written if f"`{name}`" not in text]


def test_the_reference_names_every_exit_code() -> None:
    text = (ROOT / "docs" / "reference" / "command-line.md").read_text()
    text_of_help = get_command(app).help or ""
    codes = re.findall(r"\b\d+\b", text_of_help.split("Exit codes:")[1])
    assert {"0", "1", "2", "75", "130"} <= set(codes)
    assert re.findall(r"^\| (\d+) \|", text, re.MULTILINE) == codes


# Commands and names ---------------------------------------------------------------------------------------


def test_commands_are_found() -> None:
    found = [words for path in PAGES for words in commands(path)]
    assert len(found) > 30, "the tests below would pass by finding nothing"
    assert {"run", "check", "report", "doctor", "synthesize", "weights"} <= {words[0] for words in found}


@pytest.mark.parametrize(("path", "words"), all_commands())
def test_each_command_of_the_pages_parses(path: Path, words: list[str]) -> None:
    if words[0].startswith("--"):
        named = {name for param in get_command(app).params for name in param.opts}
        assert words[0] in named
        return
    if len(words) == 1:  # prose: a verb by its name
        assert words[0] in {verb.split()[0] for verb in every_verb()}
        return
    words = [re.sub(r"[*$]\w*|\"", "", word) or "DIR" for word in words]
    verb, given = parse(words)
    assert " ".join(verb) in every_verb()
    foreign = path in GUIDES
    for word in words:
        if re.fullmatch(r"[a-z_]+/[\w-]+", word) and not word.startswith(("runs/", "data/")):
            known = {*names("recipes"), *names("datasets"), *names("protocols")}
            known |= {entry.name for entry in ls("backbones")}
            known |= {f"protocol/{name.rpartition('/')[2]}" for name in names("protocols")}
            assert word in known or (foreign and word.startswith(GUIDE_NAMES)), f"{word} does not exist"
    if verb == ["run"]:
        recipe = next(str(value) for key, value in given.items() if key == "recipe")
        overrides = [word for word in words if re.fullmatch(r"[a-z_.]+=\S+", word)]
        if recipe.endswith(".toml"):
            copied = [name for name in names("recipes") if name.endswith(f"/{Path(recipe).stem}")]
            recipe = (copied or names("recipes"))[0]
        if recipe in names("recipes"):
            text, where = recipe_text(recipe)
            load(text, overrides=overrides, where=where)
        else:
            assert foreign or recipe.isupper(), f"there is no recipe {recipe}"


def test_the_check_of_commands_sees_a_fault() -> None:
    for words in (["rnu", "x"], ["run", "x", "--no-such-option"], ["run"], ["weights", "pakc", "x"]):
        with pytest.raises(Exception, match=r"(?i)no such|missing|did you mean"):
            parse(words)


@pytest.mark.parametrize("path", sorted((ROOT / "recipes").rglob("*.toml")), ids=page_id)
def test_the_command_in_a_recipes_head_is_its_own(path: Path) -> None:
    head = [line for line in path.read_text().splitlines() if line.startswith("#")]
    command = next(line for line in head if "graftwork run " in line)
    assert f"graftwork run {path.parent.name}/{path.stem} --data DIR" in command
    parse(shlex.split(command.split("graftwork ", 1)[1]))


@pytest.mark.parametrize(
    ("path", "body"),
    [
        pytest.param(path, body, id=f"{page_id(path)}-{number}")
        for path in PAGES
        for number, body in enumerate(blocks(path, "toml"))
        if "[project" not in body and not re.search(r"^table = ", body, re.MULTILINE)  # columns.toml
    ],
)
def test_each_recipe_snippet_holds_known_keys(path: Path, body: str) -> None:
    read = tomllib.loads(body)
    dotted = {
        f"{name}.{key}" if isinstance(value, dict) else name
        for name, value in read.items()
        for key in (value if isinstance(value, dict) else [name])
    }
    assert dotted
    assert not dotted - set(keys())


@pytest.mark.parametrize("path", PAGES, ids=page_id)
def test_keys_in_prose_exist(path: Path) -> None:
    sections = {key.section for key in keys().values() if key.section}
    text = path.read_text()
    if path.name == "CHANGELOG.md":  # its tables have old names in the first column
        text = re.sub(r"^\| `[^`]*` \|", "", text, flags=re.MULTILINE)
    for word in re.findall(r"`([a-z]+\.[a-z_]+)(?:\s?=[^`]*)?`", text):
        if word.split(".")[0] in sections and not word.endswith(".csv"):
            assert word in keys(), f"there is no key {word}"


# Pages ----------------------------------------------------------------------------------------------------


def anchors(path: Path) -> set[str]:
    heads = re.findall(r"^#+ (.*)$", FENCE.sub("", path.read_text()), re.MULTILINE)
    return {re.sub(r"[^a-z0-9 _-]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("path", PAGES, ids=page_id)
def test_links_exist(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", path.read_text())):
        if re.match(r"[a-z]+:", target):
            assert target.startswith("https://"), target
            continue
        name, _, anchor = target.partition("#")
        there = (path.parent / name).resolve() if name else path
        assert there.exists(), f"{target} leads nowhere"
        assert there.is_relative_to(ROOT), f"{target} leads out of the checkout"
        if anchor:
            assert anchor in anchors(there), f"{target}: no such heading"


def test_every_page_is_reached_from_the_index() -> None:
    index = ROOT / "docs" / "index.md"
    linked = {
        (index.parent / target).resolve() for target in re.findall(r"\]\(([^)#]+)\)", index.read_text())
    }
    assert set((ROOT / "docs").rglob("*.md")) - {index} == linked


def tracked_text() -> list[Path]:
    """What is published: all text of the checkout that is not ignored."""
    folders = ("common", "domains", "recipes", "data_cards", "src", "tests", "docs", "benchmarks", ".ci")
    found = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file()]
    found += [path for path in ROOT.iterdir() if path.is_file() and path.suffix != ".pyc"]
    texts = (".py", ".md", ".toml", ".html", ".j2", ".css", ".cff", ".txt", ".csv", ".json", ".sh", "")
    return [path for path in found if path.suffix in texts and "__pycache__" not in path.parts]


def test_no_path_of_one_machine_is_written_down() -> None:
    pattern = re.compile(r"(?<![\w.~-])/(?:work|home|root|Users|mnt|scratch|data\d*)/[\w.-]{2,}")
    here = re.compile(re.escape(str(ROOT)))
    faults = []
    for path in tracked_text():
        text = path.read_text(errors="replace")
        if path != Path(__file__):
            made_up = path.is_relative_to(ROOT / "tests")  # tests name folders that nobody has
            found = [*here.finditer(text), *(() if made_up else pattern.finditer(text))]
            faults += [f"{page_id(path)}: {each.group()}" for each in found]
    assert not faults


def test_versions_are_equal() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text()
    version, date = re.findall(r"^## \[(\d+\.\d+\.\d+)\] - (\d{4}-\d\d-\d\d)$", changelog, re.MULTILINE)[0]
    citation = (ROOT / "CITATION.cff").read_text()
    assert version == graftwork.__version__
    assert f"\nversion: {version}\n" in citation
    assert f'\ndate-released: "{date}"\n' in citation
    assert re.search(r"^## \[Unreleased\]$", changelog, re.MULTILINE)


def test_the_licence_is_whole_and_one() -> None:
    licence = (ROOT / "LICENSE").read_text()
    assert "Apache License" in licence
    assert licence.rstrip().endswith("limitations under the License.")
    assert len(licence.splitlines()) > 200
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["license"] == "Apache-2.0"
    assert "\nlicense: Apache-2.0\n" in (ROOT / "CITATION.cff").read_text()


def test_make_offers_what_the_pages_name() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {"env", "demo", "test", "test-real", "lint", "bench", "docs", "clean"} <= targets
    for path in [*PAGES, ROOT / ".ci" / "run"]:
        for target in re.findall(r"(?:^|`|\s)make ([a-z-]+)(?=`|\s|$)", path.read_text(), re.MULTILINE):
            code = "\n".join(blocks(path, "")) + "".join(re.findall(r"`[^`\n]+`", path.read_text()))
            if f"make {target}" in code:
                assert target in targets, f"{page_id(path)}: make {target}"


# Code -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [path for path in PAGES if blocks(path, "python")], ids=page_id)
def test_each_snippet_compiles_and_imports_what_exists(path: Path) -> None:
    for body in blocks(path, "python"):
        compile(textwrap.dedent(body), page_id(path), "exec")
        for line in re.findall(r"^(?:from|import) graftwork.*$", body, re.MULTILINE):
            exec(line, {})


@pytest.mark.slow
def test_the_guide_to_a_new_dataset_makes_one_that_works(tmp_path: Path) -> None:
    """The files of the guide make a package whose dataset is found by its entry point."""
    files = re.findall(r"^`([\w./-]+)`\n\n```[a-z]+\n(.*?)^```$", GUIDE.read_text(), re.MULTILINE | re.DOTALL)
    assert len(files) == 6
    site = tmp_path / "site"
    for name, body in files:
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_text(body)
    project = tomllib.loads((site / "pyproject.toml").read_text())["project"]
    installed = site / "graftwork_plants-0.1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: 0.1.0\n")
    points = project["entry-points"]["graftwork.domains"]
    (installed / "entry_points.txt").write_text(
        "[graftwork.domains]\n" + "".join(f"{name} = {value}\n" for name, value in points.items())
    )
    environment = {**os.environ, "PYTHONPATH": str(site), "GRAFTWORK_CACHE": str(tmp_path / "cache")}

    def verb(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "graftwork", *words],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
        )

    listed = verb("ls", "datasets", "--json")
    assert listed.returncode == 0, listed.stderr
    assert "plants/leaves" in [entry["name"] for entry in json.loads(listed.stdout)]
    for words in (
        ["show", "plants/leaves"],
        ["show", "plants/leaves_linear-probe"],
        ["synthesize", "plants/leaves", "leaves"],
        ["check", "plants/leaves", "--data", "leaves"],
    ):
        done = verb(*words)
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    wrong = verb("check", "plants/leaves", "--data", str(site))
    assert wrong.returncode == 2
    assert "labels.csv" in wrong.stderr
    assert "Traceback" not in wrong.stderr
