"""The house: who may import whom, domains of one shape, nothing heavy before it is needed.

Each rule is a small function from source text to what breaks it. The last tests of the file feed these
functions sources that break them, so that a rule that has gone blind is seen.
"""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from graftwork.common import evaluation

ROOT = Path(__file__).resolve().parent.parent

# common/ from the ground up, as DESIGN has it: a file imports only from its own folder and from rows above its
# own. A name with a slash is a folder. A file of common/ in no row fails: a new file is given its place on purpose.
# The second column says whether a row may import torch and its kind at the top of a file.
ROWS: tuple[tuple[str, str], ...] = (
    ("wording", "light"),
    ("errors", "light"),
    ("seeds", "light"),
    ("names", "light"),
    ("memory", "light"),
    ("processor", "light"),
    ("threads", "light"),
    ("files/", "light"),
    ("cache/", "light"),
    ("recipe/", "light"),
    ("evaluation/", "light"),
    ("data/", "light"),
    ("loading/", "heavy"),
    ("networks/", "heavy"),
    ("freezing/", "heavy"),
    ("runs/", "heavy"),
    ("training/", "heavy"),
    ("selection/", "heavy"),
    ("prediction/", "heavy"),
    ("report/", "light"),
    ("external/", "light"),
    ("catalogue", "light"),
    ("doctor", "light"),
    ("pipeline", "heavy"),
    ("searches", "light"),
    ("verbs", "light"),
)
WEIGHT = dict(ROWS)
PLACE = {row: place for place, (row, _) in enumerate(ROWS)}
# What evaluation/ may import of ours: it stands on its own, so that a study can use the statistics alone.
BELOW_EVALUATION = {row for row, _ in ROWS[: PLACE["recipe/"]]}

HEAVY = ("torch", "torchvision", "monai", "timm", "accelerate", "albumentations", "cv2")
SLOW = (*HEAVY, "pandas", "matplotlib", "pyarrow", "scipy", "sklearn")

# common/ names no domain, no disease, no species. The names of the domains' folders are added below.
WORDS = (
    "pneumonia|tuberculosis|covid|pneumothorax|effusion|cardiomegaly|nodule|melanoma|nevus|naevus|keratosis"
    "|carcinoma|cancer|glioma|glioblastoma|tumou?rs?|metastas[ei]s|hippocamp\\w+|lungs?|brains?|skin|chest"
    "|thorax|dermatoscop\\w+|x-rays?"
    "|lions?|tigers?|leopards?|deer|elephants?|ostrich(?:es)?|mongooses?|zebras?|giraffes?|birds?|mammals?"
    "|wolf|wolves|fox(?:es)?|rodents?|serengeti|kermany|ham10000|isic|brats|chexnet|cxr14"
)

# Names of datasets that are plain English as well, which a sentence in common/ may use.
PLAIN = {"own"}

UNPICKLERS = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
VAGUE = {"utils", "util", "helpers", "helper", "manager", "managers", "base", "misc", "common_utils", "core"}
LINES = 500
FILES_PER_FOLDER = 16
# Files that pass this length, each with the reason why it is one idea all the same.
LONGER: dict[str, str] = {}


def modules(*folders: str) -> list[Path]:
    """The Python files below folders of the checkout, in order."""
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def code_of_the_door() -> list[Path]:
    place = ROOT / "src" / "graftwork"
    return sorted([*place.glob("*.py"), *(place / "cli").glob("*.py")])


def name_of(path: Path) -> str:
    """common/report/page.py is graftwork.common.report.page"""
    relative = path.relative_to(ROOT).with_suffix("")
    parts = list(relative.parts)
    if parts[0] == "src":
        parts = parts[2:]
    if parts[-1] == "__init__":
        parts.pop()
    return ".".join(["graftwork", *parts])


def imports(source: str, module: str, *, package: bool = False) -> set[str]:
    """Full names of what a module imports anywhere in it: inside functions and for type checking too.

    `from a.b import c` gives both a.b and a.b.c, as c may be a module.
    """
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = node.module or ""
            if node.level:
                parts = module.split(".")
                parts = parts[: len(parts) - node.level + (1 if package else 0)]
                start = ".".join([*parts, start] if start else parts)
            found.add(start)
            found.update(f"{start}.{alias.name}" for alias in node.names)
        elif (
            isinstance(node, ast.Call)
            and getattr(node.func, "attr", getattr(node.func, "id", "")) in {"import_module", "__import__"}
            and node.args
            and isinstance(node.args[0], ast.Constant)
        ):
            found.add(str(node.args[0].value))
    return found


def row_of(module: str) -> str | None:
    """The row in which a module of graftwork.common stands; None for the package itself and for no row."""
    parts = module.split(".")
    if parts[:2] != ["graftwork", "common"] or len(parts) < 3:
        return None
    for row in (parts[2], f"{parts[2]}/"):
        if row in PLACE:
            return row
    return None


def floor_faults(source: str, module: str, *, package: bool = False) -> list[str]:
    """What a module of common/ imports that does not lie below it."""
    own = row_of(module)
    if own is None:
        return [] if module == "graftwork.common" else [f"{module} stands in no row of ROWS"]
    faults = []
    for target in sorted(imports(source, module, package=package)):
        if target == "graftwork.domains" or target.startswith("graftwork.domains."):
            faults.append(f"{module} imports a domain: {target}")
        elif target.startswith("graftwork.common."):
            row = row_of(target)
            if row is None:
                faults.append(f"{module} imports {target}, which stands in no row")
            elif row != own and PLACE[row] >= PLACE[own]:
                faults.append(f"{module} ({own}) imports {target}, which stands above it")
            elif own == "evaluation/" and row not in {own, *BELOW_EVALUATION}:
                faults.append(f"{module}: evaluation/ stands alone and does not import {target}")
        elif target.startswith("graftwork.") and target not in {"graftwork.common", "graftwork.__version__"}:
            faults.append(f"{module} imports the door: {target}")
    return faults


def heavy_at_top(source: str, names: tuple[str, ...]) -> list[str]:
    """Libraries of `names` imported with this source: not inside functions, not for type checking."""
    found: set[str] = set()

    def visit(nodes: list[ast.stmt]) -> None:
        for node in nodes:
            if isinstance(node, ast.Import):
                found.update(alias.name.split(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                found.add((node.module or "").split(".")[0])
            elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
                visit(node.orelse)
            elif isinstance(node, (ast.If, ast.Try, ast.With, ast.ClassDef)):
                visit([child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt)])
                for handler in getattr(node, "handlers", []):
                    visit(handler.body)

    visit(ast.parse(source).body)
    return sorted(found & set(names))


def forbidden_calls(source: str) -> list[str]:
    """What can run code from a file, or prints: with its line."""
    faults = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names = (
                [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            )
            for name in names:
                if name.split(".")[0] in UNPICKLERS:
                    faults.append(f"line {node.lineno}: import {name}")
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
        last = called.rsplit(".", 1)[-1]
        if called == "torch.load" and keywords.get("weights_only") != "True":
            faults.append(f"line {node.lineno}: torch.load without weights_only=True")
        if last in {"to_pickle", "read_pickle"} or called in {"torch.save", "eval", "exec"}:
            faults.append(f"line {node.lineno}: {called}")
        if keywords.get("allow_pickle") == "True":
            faults.append(f"line {node.lineno}: allow_pickle=True")
        if called == "print":
            faults.append(f"line {node.lineno}: print")
    return faults


def undocumented(source: str) -> list[str]:
    """Public functions and classes of a module that have no docstring, and a module that has none itself."""
    tree = ast.parse(source)
    faults = [] if ast.get_docstring(tree) else ["no docstring of the module"]
    documented = {
        node.name: False
        for node in tree.body
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_")
    }
    for node in tree.body:  # one docstring for all overloads of a name
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name in documented:
            documented[node.name] |= bool(ast.get_docstring(node))
    return faults + [f"{name} has no docstring" for name, has_one in documented.items() if not has_one]


def words_of_domains(text: str, words: str) -> list[str]:
    """Words that common/ must not know, each with its line."""
    pattern = re.compile(rf"(?<![A-Za-z0-9_])(?:{words})(?![A-Za-z0-9_])", re.IGNORECASE)
    return [
        f"line {number}: {match.group()}"
        for number, line in enumerate(text.splitlines(), 1)
        for match in pattern.finditer(line)
    ]


def domain_folders() -> list[Path]:
    return sorted(path.parent for path in (ROOT / "domains").glob("*/__init__.py"))


def dataset_files(folder: Path) -> list[Path]:
    """The modules of a domain that define DATASET; others in the folder serve these."""
    return [
        path
        for path in sorted(folder.glob("*.py"))
        if re.search(r"^DATASET\b", path.read_text(), re.MULTILINE)
    ]


# floors ----------------------------------------------------------------------------------------------------


def test_every_file_is_visited() -> None:
    found = {name_of(path) for path in modules("common")}
    assert {"graftwork.common.errors", "graftwork.common.files"} <= found
    assert len(found) >= 20, "the tests below would pass by finding nothing"


@pytest.mark.parametrize("path", modules("common"), ids=name_of)
def test_a_file_imports_only_from_rows_above_its_own(path: Path) -> None:
    assert not floor_faults(path.read_text(), name_of(path), package=path.name == "__init__.py")


def test_no_two_rows_have_one_name() -> None:
    assert len(PLACE) == len(ROWS)


@pytest.mark.parametrize("path", modules("common"), ids=name_of)
def test_what_needs_no_torch_imports_none(path: Path) -> None:
    row = row_of(name_of(path))
    if row is not None and WEIGHT[row] == "light":
        assert not heavy_at_top(path.read_text(), HEAVY)


def circles(imported: dict[str, set[str]]) -> list[list[str]]:
    """Groups of modules that import each other, in a circle; the empty list where there is none."""
    order = list(imported)
    reached: dict[str, set[str]] = {}
    for start in order:
        seen: set[str] = set()
        waiting = [start]
        while waiting:
            for target in imported[waiting.pop()] & imported.keys():
                if target not in seen:
                    seen.add(target)
                    waiting.append(target)
        reached[start] = seen
    return [[one, other] for one in order for other in reached[one] if one < other and one in reached[other]]


def imported_when_run(source: str, module: str) -> set[str]:
    """What a module imports when it runs: imports inside functions count, those for type checking do not."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            node.body = [ast.Pass()]
    return imports(ast.unparse(tree), module)


def test_no_files_import_each_other_in_a_circle() -> None:
    files = {name_of(path): path for path in modules("common") if path.name != "__init__.py"}
    assert not circles({name: imported_when_run(path.read_text(), name) for name, path in files.items()})
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}})


def test_folders_are_small_and_file_names_are_used_once() -> None:
    files = [path for path in modules("common") if path.name != "__init__.py"]
    per_folder = Counter(path.parent for path in files)
    assert not {str(folder): count for folder, count in per_folder.items() if count > FILES_PER_FOLDER}
    per_name = Counter(path.name for path in files)
    assert not [name for name, count in per_name.items() if count > 1]


def test_each_folder_says_what_it_holds() -> None:
    for path in modules("common"):
        if path.name == "__init__.py":
            assert ast.get_docstring(ast.parse(path.read_text())), path


@pytest.mark.parametrize("path", [*modules("domains"), *code_of_the_door()], ids=name_of)
def test_domains_and_the_door_import_nothing_slow(path: Path) -> None:
    assert not heavy_at_top(path.read_text(), (*SLOW, "numpy", "PIL", "pydicom"))


@pytest.mark.parametrize("path", modules("domains"), ids=name_of)
def test_domains_never_import_each_other(path: Path) -> None:
    own = path.relative_to(ROOT / "domains").parts[0]
    for target in imports(path.read_text(), name_of(path), package=path.name == "__init__.py"):
        if target.startswith("graftwork.domains."):
            assert target.split(".")[2] == own, f"{name_of(path)} imports {target}"
        assert not target.startswith("graftwork.common.verbs"), "a domain does not drive the program"
        assert not target.startswith("graftwork.cli")


def test_common_knows_no_domain_no_disease_and_no_species() -> None:
    names = [path.name for path in domain_folders()]
    names += [path.stem for folder in domain_folders() for path in dataset_files(folder)]
    names = [name for name in names if name not in PLAIN]
    kept = [re.escape(name).replace("_", "[ _-]") for name in names]
    assert kept, "there is no domain"
    texts = [*modules("common"), *(ROOT / "common").rglob("*.html"), *(ROOT / "common").rglob("*.j2")]
    faults = [
        f"{path.relative_to(ROOT)} {fault}"
        for path in texts
        for fault in words_of_domains(path.read_text(), "|".join([WORDS, *kept]))
    ]
    assert not faults, "\n".join(faults)


# shape of domains ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", domain_folders(), ids=lambda path: path.name)
def test_domains_are_of_one_shape(folder: Path) -> None:
    def names_in(path: Path) -> set[str]:
        found: set[str] = set()
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                found.add(node.name)
            elif isinstance(node, (ast.Assign, ast.AnnAssign)):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                found.update(target.id for target in targets if isinstance(target, ast.Name))
            elif isinstance(node, ast.ImportFrom):
                found.update(alias.asname or alias.name for alias in node.names)
        return found

    assert "DOMAIN" in names_in(folder / "__init__.py")
    assert "PROTOCOLS" in names_in(folder / "protocols.py")
    datasets = dataset_files(folder)
    assert datasets, "a domain holds a dataset"
    for path in datasets:
        assert {"DATASET", "read", "synthesize"} <= names_in(path), path
        assert (ROOT / "data_cards" / folder.name / f"{path.stem}.md").is_file(), f"{path.stem} has no card"
        assert list((ROOT / "recipes" / folder.name).glob(f"{path.stem}_*.toml")), (
            f"{path.stem} has no recipe"
        )
    for path in set(folder.glob("*.py")) - set(datasets):
        assert "DATASET" not in names_in(path), f"{path} is a dataset that DOMAIN does not name"
    assert not [path for path in folder.iterdir() if path.is_dir() and path.name != "__pycache__"]


def test_cards_and_recipes_belong_to_a_dataset() -> None:
    datasets = {f"{folder.name}/{path.stem}" for folder in domain_folders() for path in dataset_files(folder)}
    for card in (ROOT / "data_cards").rglob("*.md"):
        assert f"{card.parent.name}/{card.stem}" in datasets, card
    for recipe in (ROOT / "recipes").rglob("*.toml"):
        said = tomllib.loads(recipe.read_text())["dataset"]
        assert said in datasets, recipe
        name = f"{recipe.parent.name}/{recipe.stem}"
        assert name.startswith(f"{said}_"), f"{name} is named after another dataset than its own, {said}"


def test_each_domain_is_registered_as_a_strangers_is() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    registered = project["entry-points"]["graftwork.domains"]
    assert registered == {
        folder.name: f"graftwork.domains.{folder.name}:DOMAIN" for folder in domain_folders()
    }


# nothing before it is needed -------------------------------------------------------------------------------

LIGHT = {
    "import graftwork": None,
    "--version": ["--version"],
    "--help": ["--help"],
    "run --help": ["run", "--help"],
    "ls recipes": ["ls", "recipes"],
    "show": ["show", "chest_xray/kermany_linear-probe"],
    "no such verb": ["rnu"],
    "no such name": ["show", "chest_xray/kermani"],
    "doctor": ["doctor"],
}


@pytest.mark.parametrize("case", LIGHT)
def test_nothing_heavy_is_imported_before_it_is_needed(case: str, tmp_path: Path) -> None:
    words = LIGHT[case]
    program = "import graftwork\n"
    if words is not None:
        program = (
            f"import sys; sys.argv = ['graftwork', *{words!r}]\n"
            "from graftwork.cli import main\n"
            "try: main()\n"
            "except SystemExit: pass\n"
        )
    program += "import json, sys; sys.stderr.write('\\nMODULES ' + json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, timeout=60
    )
    assert done.returncode == 0, done.stderr
    loaded = {name.split(".")[0] for name in json.loads(done.stderr.rsplit("MODULES ", 1)[1])}
    assert "graftwork" in loaded
    assert not loaded & set(SLOW)
    if case != "doctor":  # which looks for decoders
        assert not loaded & {"numpy", "PIL", "pydicom", "jinja2", "huggingface_hub"}


def test_public_names_load_when_first_used() -> None:
    program = (
        "import graftwork, sys\n"
        "assert 'pandas' not in sys.modules\n"
        "assert set(graftwork.__all__) <= set(dir(graftwork))\n"
        "for name in graftwork.__all__: getattr(graftwork, name)\n"
        "try: graftwork.no_such_name\n"
        "except AttributeError as error: assert 'no_such_name' in str(error)\n"
        "else: raise SystemExit('no AttributeError')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


# house rules -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", modules("common", "domains"), ids=name_of)
def test_what_is_public_is_documented(path: Path) -> None:
    assert not undocumented(path.read_text())


@pytest.mark.parametrize("path", [*modules("common", "domains"), *code_of_the_door()], ids=name_of)
def test_nothing_prints_and_nothing_runs_code_from_a_file(path: Path) -> None:
    faults = forbidden_calls(path.read_text())
    assert not faults


def test_no_file_is_longer_than_one_idea() -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in modules("common")}
    longer = {name: length for name, length in lengths.items() if length > LINES}
    assert set(longer) == set(LONGER), f"over {LINES} lines: {longer}; excused: {sorted(LONGER)}"


def test_no_file_has_a_name_that_says_nothing() -> None:
    vague = [
        path
        for path in [*modules("common", "domains", "tests", "benchmarks"), *code_of_the_door()]
        if path.stem.lower() in VAGUE
    ]
    assert not vague


# the rules see a fault -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "module"),
    [
        ("from graftwork.common.report import page", "graftwork.common.data.splits"),
        ("from graftwork.common import verbs", "graftwork.common.runs.run_folder"),
        ("from .. import verbs", "graftwork.common.runs.run_folder"),
        ("def f():\n    import graftwork.common.training.loop", "graftwork.common.runs.run_folder"),
        ("from graftwork.common.data.manifest import Manifest", "graftwork.common.evaluation.protocols"),
        ("from graftwork.domains.a import b", "graftwork.common.verbs"),
        ("from graftwork import domains", "graftwork.common.verbs"),
        ("import importlib\nimportlib.import_module('graftwork.domains.a')", "graftwork.common.data.domain"),
        ("from graftwork.cli import main", "graftwork.common.verbs"),
        ("", "graftwork.common.new"),
        ("from graftwork.common.new import x", "graftwork.common.verbs"),
    ],
)
def test_the_rule_of_floors_sees_a_fault(source: str, module: str) -> None:
    assert floor_faults(source, module)


def test_the_rule_of_floors_lets_pass_what_is_right() -> None:
    assert not floor_faults("from graftwork.common.errors import RunError", "graftwork.common.files")
    assert not floor_faults("from .tables import x", "graftwork.common.report.page")
    assert not floor_faults("from .tables import x", "graftwork.common.report", package=True)
    assert not floor_faults(
        "from graftwork.common.files import lock", "graftwork.common.evaluation.metrics.registry"
    )


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from joblib import load",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "pd.read_pickle(path)",
        "np.load(path, allow_pickle=True)",
        "torch.save(x, path)",
        "def f():\n    print('x')",
    ],
)
def test_the_rule_of_calls_sees_a_fault(source: str) -> None:
    assert forbidden_calls(source)
    assert not forbidden_calls("torch.load(path, weights_only=True)")


def test_the_rules_of_imports_words_and_docstrings_see_a_fault() -> None:
    assert heavy_at_top("try:\n    import torch\nexcept ImportError:\n    pass", HEAVY) == ["torch"]
    assert heavy_at_top("from torch.nn import Module", HEAVY) == ["torch"]
    assert not heavy_at_top("if TYPE_CHECKING:\n    import torch\ndef f():\n    import timm", HEAVY)
    assert words_of_domains("# as in pneumonia", WORDS) == ["line 1: pneumonia"]
    assert words_of_domains("a chest_xray", "chest[ _-]xray") == ["line 1: chest_xray"]
    assert not words_of_domains("checksum, nodes, birdsong_x", WORDS)
    assert undocumented("'''m'''\ndef f(): pass\ndef _g(): pass") == ["f has no docstring"]
    assert undocumented("x = 1") == ["no docstring of the module"]


def test_every_test_file_is_collected_by_its_name() -> None:
    """A file of tests that pytest would not collect is a test that nobody sees."""

    def holds_tests(path: Path) -> Iterator[str]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                yield node.name

    for path in (ROOT / "tests").rglob("*.py"):
        assert path.name.startswith("test_") or path.name == "conftest.py" or not list(holds_tests(path)), (
            path
        )


def test_no_public_name_of_statistics_is_that_of_a_module() -> None:
    """A module of the name, once somebody imports it, would stand where the function was."""
    modules = {path.stem for path in (ROOT / "common" / "evaluation").iterdir()}
    assert not modules & set(evaluation.__all__)
    for name in evaluation.__all__:
        assert getattr(evaluation, name) is not None
