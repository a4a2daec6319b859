"""Recipes: what a user is told about faults, what comes out, and that nothing is lost on the way back."""

# ruff: noqa: E501  (the messages are tested word by word, and some are long)

from __future__ import annotations

import math
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from graftwork.common.data.domain import dataset
from graftwork.common.errors import RecipeError
from graftwork.common.recipe import Recipe, idle_under, keys, load, schema, to_toml
from graftwork.common.recipe.keys import found_text, nearest
from graftwork.common.recipe.renamed_keys import RENAMED
from graftwork.common.recipe.toml import key_lines, value_text
from graftwork.common.recipe.unused_keys import idle_keys, refuse_idle_keys

RECIPES = sorted((Path(__file__).resolve().parents[2] / "recipes").rglob("*.toml"))
HEAD = 'title = "A trial"\ndataset = "plants/leaves"\n'  # lines 1 and 2
FULL = '[strategy]\nname = "full"\n'  # lines 3 and 4 below HEAD
SMALL = HEAD + FULL


def faults(text: str, *overrides: str) -> list[str]:
    with pytest.raises(RecipeError) as caught:
        load(text, overrides=overrides, where="trial.toml")
    error = caught.value
    count = len(error.faults)
    assert str(error) == "\n  ".join(
        [f"trial.toml: {count} error{'s' if count > 1 else ''}.", *error.faults]
    ), "every fault has one line, below the file"
    return list(error.faults)


# What comes out


def test_a_recipe_is_complete_with_its_defaults() -> None:
    recipe = load(SMALL)
    assert recipe.backbone.name == "tf_efficientnet_lite0"
    assert recipe.backbone.weights == ("file", "package"), "the hub only where it is named"
    assert recipe.image.size == 224
    assert recipe.split.by == "group"
    assert recipe.training.max_unreadable_files == 0
    assert recipe.evaluation.threshold_target == 0.95
    assert not recipe.offline


@pytest.mark.parametrize(
    ("name", "norm"), [("linear-probe", "hold"), ("full", "train"), ("scratch", "train")]
)
def test_the_norm_policy_follows_the_strategy_where_it_is_not_said(name: str, norm: str) -> None:
    assert load(f'{HEAD}[strategy]\nname = "{name}"').strategy.norm == norm
    assert load(f'{HEAD}[strategy]\nname = "{name}"\nnorm = "adapt"').strategy.norm == "adapt"


def test_the_split_has_the_recipe_s_seed_unless_it_has_its_own() -> None:
    assert load(SMALL, overrides=["seed=3"]).split_seed == 3
    assert load(SMALL, overrides=["seed=3", "split.seed=0"]).split_seed == 0


def test_a_recipe_cannot_be_changed() -> None:
    recipe = load(SMALL)
    with pytest.raises(ValidationError):
        recipe.training.epochs = 3
    with pytest.raises(ValidationError):
        recipe.seed = 3


def test_a_recipe_made_in_python_obeys_the_same_rules() -> None:
    parts: dict[str, Any] = {"title": "A trial", "dataset": "plants/leaves"}
    with pytest.raises(ValidationError, match=r"strategy\.norm: expected .*scratch"):
        Recipe.model_validate({**parts, "strategy": {"name": "scratch", "norm": "hold"}})
    assert Recipe.model_validate({**parts, "strategy": {"name": "full"}}) == load(SMALL)


def test_whole_numbers_stand_for_numbers() -> None:
    recipe = load(
        SMALL, overrides=["training.learning_rate=1", "training.warmup=2", "augmentation.rotation=5"]
    )
    assert isinstance(recipe.training.learning_rate, float)
    same = load(
        SMALL, overrides=["training.learning_rate=1.0", "training.warmup=2.0", "augmentation.rotation=5.0"]
    )
    assert recipe.digest() == same.digest()


# What a user is told

EPOCHS = "a whole number at least 1"
ONE_FAULT = [
    (HEAD, 'strategy.name: expected "linear-probe", "last-stages", "gradual", "full", "layer-wise", "probe-then-full", "surgical", "bias-and-norm", "lora", "scratch" or "phases", found nothing'),
    (HEAD + "[strategy]\n", 'strategy.name ([strategy], line 3): expected "linear-probe", "last-stages", "gradual", "full", "layer-wise", "probe-then-full", "surgical", "bias-and-norm", "lora", "scratch" or "phases", found nothing'),
    ('dataset = "a/b"\n' + FULL, "title: expected one line of text, found nothing"),
    ('title = ""\ndataset = "a/b"\n' + FULL, 'title (line 1): expected one line of text, found ""'),
    ('title = "a\\nb"\ndataset = "a/b"\n' + FULL, 'title (line 1): expected one line of text, found "a\\nb"'),
    ('title = "a"\ndataset = "../b"\n' + FULL, 'dataset (line 2): expected a name as in "domain/dataset", found "../b"'),
    (HEAD + "seed = -1\n" + FULL, "seed (line 3): expected a whole number from 0 to 4294967295, found -1"),
    (HEAD + "seed = 1.5\n" + FULL, "seed (line 3): expected a whole number from 0 to 4294967295, found 1.5"),
    (HEAD + "seed = true\n" + FULL, "seed (line 3): expected a whole number from 0 to 4294967295, found true"),
    (HEAD + "offline = 1\n" + FULL, "offline (line 3): expected true or false, found 1"),
    (SMALL + "[training]\nepochs = 0\n", f"training.epochs (line 6): expected {EPOCHS}, found 0"),
    (SMALL + "[training]\nepochs = 2.0\n", f"training.epochs (line 6): expected {EPOCHS}, found 2.0"),
    (SMALL + '[training]\nepochs = "3"\n', f'training.epochs (line 6): expected {EPOCHS}, found "3"'),
    (SMALL + "[training]\nepochs = true\n", f"training.epochs (line 6): expected {EPOCHS}, found true"),
    (SMALL + "[training]\nepochs = [3]\n", f"training.epochs (line 6): expected {EPOCHS}, found [3]"),
    (SMALL + "[training]\nepochs = { a = 3 }\n", f"training.epochs (line 6): expected {EPOCHS}, found a table"),
    (SMALL + "[training]\nepochs = 2020-02-02\n", f"training.epochs (line 6): expected {EPOCHS}, found 2020-02-02"),
    (SMALL + "[training]\nlearning_rate = nan\n", "training.learning_rate (line 6): expected a number above 0 and at most 100, found nan"),
    (SMALL + "[training]\nlearning_rate = inf\n", "training.learning_rate (line 6): expected a number above 0 and at most 100, found inf"),
    (SMALL + "[training]\nlearning_rate = true\n", "training.learning_rate (line 6): expected a number above 0 and at most 100, found true"),
    (SMALL + "[training]\nlearning_rate = 0\n", "training.learning_rate (line 6): expected a number above 0 and at most 100, found 0"),
    (SMALL + "[training]\ndropout = 1\n", "training.dropout (line 6): expected a number at least 0 and below 1, found 1"),
    (SMALL + "[volume]\npatch_size = [32, 40, 32]\n", "volume.patch_size (line 6): expected a list of three multiples of 16 from 16 to 256, found [32, 40, 32]"),
    (SMALL + "[volume]\npatch_size = [32, 32]\n", "volume.patch_size (line 6): expected a list of three multiples of 16 from 16 to 256, found [32, 32]"),
    (SMALL + "[decoder]\nwidth = 2\n", "decoder.width (line 6): expected a whole number from 4 to 256, found 2"),
    (SMALL + '[backbone]\nname = "unet3d"\n', 'strategy.name (line 4): expected "scratch" with backbone.name = "unet3d" (no weights are published for it), found "full"'),
    (SMALL + "\n\n[augmentation]\nzoom = 0.95\n", "augmentation.zoom (line 8): expected a number from 0 to 0.9, found 0.95"),
    (SMALL + '[image]\nfit = "squish"\n', 'image.fit (line 6): expected "squash", "pad" or "crop", found "squish"'),
    (SMALL + "[backbone]\nmean = [0.5]\nstd = [1, 1, 1]\n", "backbone.mean (line 6): expected a list of three numbers from 0 to 1, or an empty one, found [0.5]"),
    (SMALL + "[backbone]\nmean = [0, 0, 0]\nstd = [1, 0, 1]\n", "backbone.std (line 7): expected a list of three numbers above 0 and at most 1, or an empty one, found [1, 0, 1]"),
    (SMALL + '[backbone]\nweights = []\n', 'backbone.weights (line 6): expected a list of "file", "package" or "hub", each at most once, found []'),
    (SMALL + '[backbone]\nweights = ["hub", "hub"]\n', 'backbone.weights (line 6): expected a list of "file", "package" or "hub", each at most once, found ["hub", "hub"]'),
    (SMALL + '[backbone]\nweights = "hub"\n', 'backbone.weights (line 6): expected a list of "file", "package" or "hub", each at most once, found "hub"'),
    ("training = 3\n" + SMALL, "training (line 1): expected a table of keys, [training], found 3"),
    (SMALL + "[[training]]\nepochs = 3\n", "training (line 5): expected a table of keys, [training], found [{ epochs = 3 }]"),
    # unknown keys
    (SMALL + "[training]\nepoch = 3\n", "training.epoch (line 6): unknown key; did you mean training.epochs?"),
    ("epochs = 3\n" + SMALL, "epochs (line 1): unknown key; did you mean training.epochs?"),
    (SMALL + "[image]\nepochs = 3\n", "image.epochs (line 6): unknown key; did you mean training.epochs?"),
    (SMALL + "[augmentation]\nflip_horizontal = 0.5\n", "augmentation.flip_horizontal (line 6): unknown key; did you mean augmentation.horizontal_flip?"),
    ("name = 3\n" + SMALL, "name (line 1): unknown key; did you mean backbone.name or strategy.name?"),
    (SMALL + "[trainig]\nepochs = 3\n", "trainig (line 5): unknown section; did you mean training?"),
    (SMALL + "[xyz]\nepochs = 3\n", "xyz (line 5): unknown section; the sections are backbone, image, decoder, volume, augmentation, split, strategy, training, evaluation"),
    (SMALL + "[image]\nqqqq = 3\n", "image.qqqq (line 6): unknown key; the keys are image.size, image.fit, image.interpolation"),
    ('"\\u0007" = 3\n' + SMALL, '"\\u0007" (line 1): unknown key; the keys are title, dataset, seed, offline, engine'),
    # where a key may hide
    (SMALL + "training.epochs = 0\n", "strategy.training (line 5): unknown section; did you mean training?"),
    ("training.epochs = 0\n" + SMALL, f"training.epochs (line 1): expected {EPOCHS}, found 0"),
    ("training = { learning_rate = 1e-3,  epochs = 0 }\n" + SMALL, f"training.epochs (line 1): expected {EPOCHS}, found 0"),
    (SMALL + "[ training ]\n'epochs' = 0\n", f"training.epochs (line 6): expected {EPOCHS}, found 0"),
    ('title = "A # [trial]"\ndataset = "a/b" # x\n' + FULL + "[training] # y\n# epochs = 7\nepochs = 0", f"training.epochs (line 7): expected {EPOCHS}, found 0"),
    # contradictions
    (SMALL + "[split]\ntest = 0\n", 'split.test (line 6): expected more than 0 with split.by = "group" (nothing would be left to test on), found 0'),
    (SMALL + "[split]\nvalidation = 0.0\n", 'split.validation (line 6): expected more than 0 with split.by = "group" (nothing would be left to choose the epoch and the threshold on), found 0.0'),
    (SMALL + "[split]\nvalidation = 0.5\ntest = 0.5\n", 'split.test (line 7): expected less than 1 together with split.validation with split.by = "group" (nothing would be left to train on), found 0.5 and 0.5'),
    (SMALL + "[split]\nvalidation = 0.9\n", 'split.test (line 6): expected less than 1 together with split.validation with split.by = "group" (nothing would be left to train on), found 0.2 and 0.9'),
    (HEAD + '[strategy]\nnorm = "hold"\nname = "scratch"\n', 'strategy.norm (line 4): expected "adapt" or "train" with strategy.name = "scratch" (random weights have no statistics to hold), found "hold"'),
    (HEAD + '[strategy]\nnorm = "train"\nname = "linear-probe"\n', 'strategy.norm (line 4): expected "hold" or "adapt" with strategy.name = "linear-probe" (the norm layers of the backbone are frozen), found "train"'),
    (HEAD + '[strategy]\nname = "scratch"\n[backbone]\nfile = "w.safetensors"\n', 'backbone.file (line 6): expected "" with strategy.name = "scratch" (training starts from random weights, so no file is read), found "w.safetensors"'),
    (SMALL + "[training]\naccumulation_steps = 5\n", "training.accumulation_steps (line 6): expected a divisor of training.batch_size (32), found 5"),
    (SMALL + "[training]\nwarmup = 2.5\nepochs = 2\n", "training.warmup (line 6): expected at most training.epochs (2), found 2.5"),
    (SMALL + "[backbone]\nmean = [0.5, 0.5, 0.5]\n", "backbone.mean (line 6): expected together with backbone.std, which is empty"),
    (SMALL + "[backbone]\nstd = [0.5, 0.5, 0.5]\n", "backbone.std (line 6): expected together with backbone.mean, which is empty"),
    (SMALL + '[backbone]\nfile = "a.safetensors"\nweights = ["package"]\n', 'backbone.file (line 6): expected "" where backbone.weights does not name "file", found "a.safetensors"'),
    (SMALL + "[evaluation]\nthreshold_target = 0.9\n", 'evaluation.threshold_target (line 6): expected only with evaluation.threshold = "sensitivity" or "specificity" (it does nothing under "youden"), found 0.9'),
]  # fmt: skip


@pytest.mark.parametrize(("text", "fault"), ONE_FAULT)
def test_a_fault_says_key_line_what_was_expected_and_what_stands_there(text: str, fault: str) -> None:
    assert faults(text) == [fault]


def test_all_faults_are_told_at_once_in_the_order_of_the_file() -> None:
    text = """\
titel = "A trial"
dataset = "leaves"
[strategy]
name = "complete"
[split]
by = "group"
test = 0
validation = true
[training]
epochs = nan
accumulation_steps = 3
"""
    found = faults(text, "seed=x", "training.batch_sise=8", "epochs")
    assert [fault.partition(":")[0] for fault in found] == [
        "title",
        "titel (line 1)",
        "dataset (line 2)",
        "strategy.name (line 4)",
        "split.test (line 7)",
        "split.validation (line 8)",
        "training.epochs (line 10)",
        "training.accumulation_steps (line 11)",
        "training.batch_sise (command line)",
        "epochs (command line)",
        "seed (command line)",
    ]


def test_what_depends_on_a_faulty_key_is_not_blamed_too() -> None:
    assert len(faults(SMALL + "[split]\nvalidation = 7\ntest = 0.5\n")) == 1
    assert len(faults(SMALL + '[training]\nbatch_size = "32"\naccumulation_steps = 5\n')) == 1


def test_a_file_of_unknown_keys_is_told_apart_from_a_recipe() -> None:
    found = faults("".join(f"word_{number} = 1\n" for number in range(3000)))
    assert len(found) < 60
    assert any("2950 more unknown keys; is this a recipe?" in fault for fault in found)


# Overrides


def test_overrides_have_the_last_word() -> None:
    recipe = load(
        SMALL, overrides=["training.epochs=3", "training.epochs = 4", "title=Other", "offline=true"]
    )
    assert (recipe.training.epochs, recipe.title, recipe.offline) == (4, "Other", True)


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("title=Two words", "Two words"),
        ('title="quoted"', "quoted"),
        ("title='quoted'", "quoted"),
        ("title=2026", "2026"),
        ("title=true", "true"),
        ("title=a=b", "a=b"),
        ("title=[x]", "[x]"),
        ("title=1\nseed = 3", None),
        ("title=naïve 肺", "naïve 肺"),
        ("training.learning_rate=1e-4", 1e-4),
        ("training.learning_rate=1", 1.0),
        ("strategy.name=scratch", "scratch"),
        ("backbone.file=", ""),
        ("backbone.file=a b/ü.safetensors", "a b/ü.safetensors"),
        ('backbone.weights=["hub"]', ("hub",)),
        ("backbone.name=vit_base_patch16_224.augreg_in21k", "vit_base_patch16_224.augreg_in21k"),
        ("split.seed=7", 7),
    ],
)
def test_the_value_of_an_override_is_toml_or_else_text(word: str, value: object) -> None:
    if value is None:
        assert "found" in faults(SMALL, word)[0]
        return
    found: Any = load(SMALL, overrides=[word])
    for part in word.partition("=")[0].split("."):
        found = getattr(found, part)
    assert found == value
    assert type(found) is type(value)


def test_a_section_may_be_overridden_as_a_table() -> None:
    recipe = load(
        SMALL + "[training]\nlearning_rate = 0.5\n",
        overrides=["training={ epochs = 3, gradient_clip_norm = 1.0 }"],
    )
    assert (recipe.training.epochs, recipe.training.gradient_clip_norm, recipe.training.learning_rate) == (
        3,
        1.0,
        0.5,
    )
    assert faults(SMALL, "training={ epoch = 3 }") == [
        "training.epoch (command line): unknown key; did you mean training.epochs?"
    ]


@pytest.mark.parametrize(
    ("word", "fault"),
    [
        ("epochs=3", "epochs (command line): unknown key; did you mean training.epochs?"),
        ("trainig.epochs=3", "trainig.epochs (command line): unknown key; did you mean training.epochs?"),
        ("training.epochs", "training.epochs (command line): expected key=value, as in training.epochs=3"),
        ("=3", "=3 (command line): expected key=value, as in training.epochs=3"),
        ("training.epochs=three", f'training.epochs (command line): expected {EPOCHS}, found "three"'),
        ("training.epochs=", f'training.epochs (command line): expected {EPOCHS}, found ""'),
        ("offline=True", 'offline (command line): expected true or false, found "True"'),
        ("training.learning_rate=nan", "training.learning_rate (command line): expected a number above 0 and at most 100, found nan"),
        ("training=3", "training (command line): expected a table of keys, [training], found 3"),
        ("title.x=3", "title.x (command line): unknown key; did you mean title?"),
        ("a.b.c=3", "a.b.c (command line): unknown key; the sections are backbone, image, decoder, volume, augmentation, split, "
         "strategy, training, evaluation"),
        ("seed=" + "9" * 5000, None),
    ],
)  # fmt: skip
def test_a_fault_of_an_override_is_placed_on_the_command_line(word: str, fault: str | None) -> None:
    found = faults(SMALL, word)
    assert len(found) == 1
    if fault is None:
        assert found[0].startswith("seed (command line): expected a whole number")
        assert len(found[0]) < 200, "what stands there is shortened"
    else:
        assert found == [fault]


def test_an_override_takes_the_blame_from_the_line_that_it_replaced() -> None:
    assert faults(SMALL + "[training]\nepochs = 3\n", "training.epochs=0") == [
        f"training.epochs (command line): expected {EPOCHS}, found 0"
    ]
    assert load(SMALL + "[training]\nepochs = 0\n", overrides=["training.epochs=1"]).training.epochs == 1


def test_a_strategy_changed_on_the_command_line_may_contradict_the_file() -> None:
    text = HEAD + '[strategy]\nname = "linear-probe"\nnorm = "hold"\n'
    assert faults(text, "strategy.name=scratch")[0].startswith(
        'strategy.norm (line 5): expected "adapt" or "train"'
    )
    assert load(text, overrides=["strategy.name=scratch", "strategy.norm=train"]).strategy.norm == "train"


# Texts that are no recipe


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("title = \n", ["trial.toml, line 1, column 9: not valid TOML: Invalid value"]),
        ("a = 1\na = 2\n", ["trial.toml, line 2, column 6: not valid TOML: Cannot overwrite a value"]),
        ("[training\n", ["trial.toml, line 1, column 10: not valid TOML: Expected ']'"]),
        ('title = "a', ["trial.toml, line 1 (the end): not valid TOML: Unterminated string"]),
        ("a = " + "[" * 5000, ["trial.toml: not usable: its lists or tables are nested too deeply"]),
        ("seed = " + "9" * 5000, ["trial.toml: not valid TOML", "digits"]),
        ("#" * (1 << 21), ["trial.toml: too long for a recipe: 2,097,152 characters"]),
        ("\x00", ["trial.toml, line 1, column 1: not valid TOML"]),
    ],
)
def test_text_that_is_not_toml_is_answered_with_line_and_column(text: str, parts: list[str]) -> None:
    with pytest.raises(RecipeError) as caught:
        load(text, where="trial.toml")
    for part in parts:
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_empty_text_lacks_what_a_recipe_must_have() -> None:
    assert [fault.partition(":")[0] for fault in faults("")] == ["title", "dataset", "strategy.name"]


def test_files_are_read_and_named_in_messages(tmp_path: Path) -> None:
    file = tmp_path / "rezept ü.toml"
    file.write_bytes(b"\xef\xbb\xbf" + SMALL.replace("\n", "\r\n").encode())
    assert load(file) == load(SMALL), "a byte order mark and line ends of Windows are borne"
    file.write_text("seed = 1\n")
    with pytest.raises(RecipeError, match=r"rezept ü\.toml: 3 errors"):
        load(file)


def test_files_that_cannot_be_read_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"none\.toml: there is no such file"):
        load(tmp_path / "none.toml")
    with pytest.raises(RecipeError, match="is a folder, expected a file"):
        load(tmp_path)
    with pytest.raises(RecipeError, match=r"cannot be read \(File name too long\)"):
        load(tmp_path / ("x" * 5000))
    with pytest.raises(RecipeError, match="cannot be read"):
        load(Path("a\0b"))
    latin = tmp_path / "latin.toml"
    latin.write_bytes(b'seed = 1\ntitle = "\xfc"\n')
    with pytest.raises(
        RecipeError, match=r"latin\.toml: not UTF-8 text: byte 0xfc in line 2\. Save it as UTF-8"
    ):
        load(latin)
    huge = tmp_path / "huge.toml"
    with huge.open("wb") as file:
        file.truncate(1 << 33)
    with pytest.raises(RecipeError, match="is too large"):
        load(huge)


# Lines


def test_every_key_is_found_on_its_line() -> None:
    text = '''a = """
[x]
b = 3
"""
"q.r".s = 'x=3' # c = 1
[ t . u ]
v = { w = 1, "z" = { k = [ {a1=1}, 2 ] } }
l = [ 1, # ] = 3
  "]", {k2=3}, [4,
  5] ]
m = 2001-01-01 00:00:00
[[arr]]
n = """a\\""" b"""
o = \'\'\'x\'\'y\'\'\'
p = """""
x"""""
[end]
last = 1'''
    assert key_lines(text) == {
        ("a",): 1,
        ("q.r",): 5,
        ("q.r", "s"): 5,
        ("t",): 6,
        ("t", "u"): 6,
        ("t", "u", "v"): 7,
        ("t", "u", "v", "w"): 7,
        ("t", "u", "v", "z"): 7,
        ("t", "u", "v", "z", "k"): 7,
        ("t", "u", "l"): 8,
        ("t", "u", "m"): 11,
        ("arr",): 12,
        ("arr", "n"): 13,
        ("arr", "o"): 14,
        ("arr", "p"): 15,
        ("end",): 17,
        ("end", "last"): 18,
    }
    tomllib.loads(text)


NAMES = st.text("abcdxyz_-", min_size=1, max_size=4)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False)
    | TEXTS
    | st.dates()
    | st.datetimes(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES | TEXTS, inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(NAMES | TEXTS, VALUES, max_size=5))
def test_values_are_written_as_toml_and_their_lines_found(table: dict[str, Any]) -> None:
    text = "".join(f"{value_text(key)} = {value_text(value)} # x\n" for key, value in table.items())
    assert tomllib.loads(text) == table
    lines = key_lines(text)
    assert [lines[key,] for key in table] == list(range(1, len(table) + 1))
    for key, value in table.items():
        if isinstance(value, dict):
            assert all(lines[key, inner] == lines[key,] for inner in value)


# Any table at all, near a recipe or far from one, gives a recipe or faults of one line each.

ANYTHING = st.dictionaries(
    st.sampled_from([*dict.fromkeys(key.partition(".")[0] for key in keys()), "epochs", "traning", ""]),
    VALUES
    | st.dictionaries(
        st.sampled_from([key.rpartition(".")[2] for key in keys()]),
        VALUES | st.sampled_from([0, 1, 0.5, "full", "hold", "group", "file", math.inf, ["file"], [0.5] * 3]),
        max_size=6,
    ),
    max_size=8,
)


@settings(max_examples=100, deadline=None)
@given(ANYTHING, st.lists(st.sampled_from([*keys()]).flatmap(lambda key: VALUES.map(lambda v: f"{key}={v}"))))
def test_nothing_but_a_recipe_error_comes_of_a_bad_recipe(
    table: dict[str, Any], overrides: list[str]
) -> None:
    text = "".join(f"{value_text(key)} = {value_text(value)}\n" for key, value in table.items())
    try:
        load(text, overrides=overrides)
    except RecipeError as error:
        assert error.faults
        assert all("\n" not in fault and fault.isprintable() for fault in error.faults)
        assert len(set(error.faults)) == len(error.faults)


# There and back


@st.composite
def recipes(draw: st.DrawFn) -> dict[str, Any]:
    def number(low: float, high: float) -> st.SearchStrategy[float]:
        return st.floats(low, high, allow_subnormal=False)

    three = st.lists(number(0.01, 1), min_size=3, max_size=3)
    name = draw(st.sampled_from(["linear-probe", "full", "scratch"]))
    norms = {
        "linear-probe": ["hold", "adapt"],
        "full": ["hold", "adapt", "train"],
        "scratch": ["adapt", "train"],
    }
    weights = draw(st.lists(st.sampled_from(["file", "package", "hub"]), min_size=1, max_size=3, unique=True))
    accumulate, epochs = draw(st.integers(1, 8)), draw(st.integers(1, 100))
    by = draw(st.sampled_from(["group", "publisher"]))
    threshold = draw(st.sampled_from(["youden", "sensitivity", "specificity"]))
    least = 0.0 if by == "publisher" else 0.01
    normal = draw(st.booleans())
    line = st.text(
        st.characters(exclude_categories=["Cs"], exclude_characters="\r\n"), min_size=1, max_size=200
    )
    return {
        "title": draw(line),
        "dataset": draw(st.from_regex(r"\A[a-z_]{1,9}/[a-z0-9_.-]{1,9}\Z")),
        "seed": draw(st.integers(0, 2**32 - 1)),
        "offline": draw(st.booleans()),
        "engine": draw(st.sampled_from(["auto", "torch", "onnxruntime", "openvino"])),
        "backbone": {
            "weights": weights,
            "file": draw(TEXTS) if "file" in weights and name != "scratch" else "",
            "mean": draw(three) if normal else [],
            "std": draw(three) if normal else [],
            "padding": draw(st.sampled_from(["", "same"])),
        },
        "image": {
            "size": draw(st.integers(16, 4096)),
            "fit": draw(st.sampled_from(["squash", "pad", "crop"])),
        },
        "augmentation": {
            "horizontal_flip": draw(number(0, 1)),
            "rotation": draw(number(0, 180)),
            "zoom": draw(number(0, 0.9)),
        },
        "split": {
            "by": by,
            "validation": draw(number(least, 0.4)),
            "test": draw(number(least, 0.5)),
            **({"seed": draw(st.integers(0, 2**32 - 1))} if draw(st.booleans()) else {}),
        },
        "strategy": {"name": name, "norm": draw(st.sampled_from(norms[name]))},
        "training": {
            "epochs": epochs,
            "batch_size": accumulate * draw(st.integers(1, 64)),
            "accumulation_steps": accumulate,
            "learning_rate": draw(number(1e-9, 100)),
            "warmup": draw(number(0, epochs)),
            "gradient_clip_norm": draw(number(0, 1e9)),
        },
        "evaluation": {
            "threshold": threshold,
            **({} if threshold == "youden" else {"threshold_target": draw(number(0.01, 0.99))}),
        },
    }


@settings(max_examples=100, deadline=None)
@given(recipes())
def test_a_written_recipe_is_the_same_recipe(parts: dict[str, Any]) -> None:
    recipe = Recipe(**parts)
    text = to_toml(recipe)
    again = load(text)
    assert again == recipe
    assert again.digest() == recipe.digest()
    assert to_toml(again) == text
    Draft202012Validator(schema()).validate(tomllib.loads(text))


def test_a_written_recipe_says_what_its_sections_are() -> None:
    recipe = load(SMALL)
    text = to_toml(recipe)
    for section in ("backbone", "image", "augmentation", "split", "strategy", "training", "evaluation"):
        assert f"\n[{section}]  # " in text
    assert 'norm = "train"' in text, "defaults are written as they were resolved"
    missing = {"split.seed", *(key for key in keys() if idle_under(recipe, key))}
    assert (
        "evaluation.threshold_target" in missing and '# lora_rank: only with strategy.name = "lora"' in text
    )
    written = {".".join(name) for name in key_lines(text)}
    assert {key for key in keys() if key not in written} == missing


def test_equal_recipes_have_equal_digests_and_every_key_counts() -> None:
    base = load(SMALL)
    assert load(to_toml(base)).digest() == base.digest()
    assert load(SMALL, overrides=["training.epochs=10"]).digest() == base.digest(), "a default said aloud"
    assert load(SMALL, overrides=["training.warmup=-0.0"]).digest() == base.digest()
    other = {
        "title": "B", "dataset": "a/b", "seed": 1, "offline": "true", "engine": "torch", "backbone.name": "resnet18",
        "backbone.weights": '["hub"]', "backbone.file": "f", "backbone.mean": "[0.1, 0.1, 0.1]",
        "backbone.std": "[0.1, 0.1, 0.1]", "backbone.padding": "same", "image.fit": "pad",
        "image.interpolation": "area", "split.by": "publisher", "split.seed": 0, "split.allow_leak": "true",
        "split.allow": '["look-alike-groups"]', "strategy.name": "scratch", "strategy.norm": "adapt", "training.batch_size": 64,
        "training.accumulation_steps": 2, "training.schedule": "constant", "training.class_weights": "balanced",
        "training.precision": "bfloat16", "evaluation.protocol": "p", "evaluation.threshold": "sensitivity",
        "strategy.stages": '["stem"]', "strategy.phases": '[{stages = ["head"]}]', "training.restart_schedule": "true",
        "training.sampling": "balanced", "backbone.channels": 1,
        "evaluation.threshold_target": 0.5, "evaluation.bootstrap": 100, "image.size": 64, "decoder.width": 8, "volume.patch_size": "[32, 32, 64]",
    }  # fmt: skip
    alongside = {
        "backbone.mean": ["backbone.std=[0.5, 0.5, 0.5]"],
        "backbone.std": ["backbone.mean=[0.5, 0.5, 0.5]"],
        "evaluation.threshold_target": ["evaluation.threshold=specificity"],
        "strategy.last_stages": ["strategy.name=last-stages"],
        "strategy.stages": ["strategy.name=surgical"],
        "strategy.unfreeze_every": ["strategy.name=gradual"],
        "strategy.unfreeze_patience": ["strategy.name=gradual", "strategy.unfreeze_every=0"],
        "strategy.probe_epochs": ["strategy.name=probe-then-full"],
        "strategy.layer_decay": ["strategy.name=last-stages"],
        "strategy.lora_rank": ["strategy.name=lora"],
        "strategy.lora_alpha": ["strategy.name=lora"],
        "strategy.regularisation_strengths": ["strategy.name=linear-probe"],
        "strategy.phases": ["strategy.name=phases"],
        "training.plateau_factor": ["training.schedule=plateau"],
        "training.plateau_patience": ["training.schedule=plateau"],
        "training.restart_schedule": ["strategy.name=gradual"],
    }
    digests = {base.digest()}
    for name, key in keys().items():
        value = other.get(name, 0.25 if key.kind == "number" else 3)
        digests.add(load(SMALL, overrides=[*alongside.get(name, []), f"{name}={value}"]).digest())
    assert len(digests) == len(keys()) + 1


# The recipes that come with graftwork, and the schema


def test_there_are_recipes() -> None:
    assert len(RECIPES) >= 3


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_shipped_recipe_is_whole_explicit_and_says_what_to_expect(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    recipe = load(path)
    name = f"{path.parent.name}/{path.stem}"
    assert path.stem.endswith(f"_{recipe.strategy.name}")
    assert name.startswith(f"{recipe.dataset}_")
    head = text.partition("\n\n")[0]
    assert all(line.startswith("#") for line in head.splitlines())
    assert f"# run:    graftwork run {name} --data DIR" in head
    assert "\n# cost: " in head
    assert "\n# expect: " in head
    written = {".".join(key) for key in key_lines(text)}
    volumes = recipe.backbone.name == "unet3d"
    segmentation = dataset(recipe.dataset).about.target.kind == "segmentation"
    solved = bool(recipe.strategy.regularisation_strengths)
    idle = idle_keys(segmentation=segmentation, volumes=volumes, solved=solved)
    idle |= {key for key in keys() if idle_under(recipe, key)}
    left_out = {key for key in keys() if key not in written}
    assert left_out <= {"split.seed", *idle}, "a recipe is explicit, even about defaults"
    refuse_idle_keys(recipe, segmentation=segmentation, volumes=volumes)
    Draft202012Validator(schema()).validate(tomllib.loads(text))
    assert "hub" not in recipe.backbone.weights, "nothing is fetched unless a user asks for it"


def test_the_schema_is_one_and_describes_every_key() -> None:
    Draft202012Validator.check_schema(schema())
    assert len(keys()) > 40
    for name, key in keys().items():
        assert key.description.endswith("."), name
        assert key.expected, name
    for section in schema()["$defs"].values():
        assert section["description"]
        assert section["additionalProperties"] is False


@pytest.mark.parametrize(
    "change",
    [
        {"epochs": 3},
        {"title": 3},
        {"training": {"epochs": 0}},
        {"training": {"rate": "fast"}},
        {"training": {"epoch": 3}},
        {"backbone": {"weights": ["cloud"]}},
        {"backbone": {"mean": [0.5]}},
        {"strategy": {"name": "half"}},
        {"split": {"seed": -1}},
    ],
)
def test_an_editor_with_the_schema_sees_what_loading_would_refuse(change: dict[str, Any]) -> None:
    good = tomllib.loads(SMALL)
    validator = Draft202012Validator(schema())
    assert validator.is_valid(good)
    assert not validator.is_valid({**good, **change})
    with pytest.raises(ValidationError):
        Recipe(**{**good, **change})


def test_defaults_in_the_schema_are_those_of_a_recipe() -> None:
    recipe: Any = load(SMALL)
    for name, key in keys().items():
        if key.default not in ("required", "absent"):
            found = recipe
            for part in name.split("."):
                found = getattr(found, part)
            assert value_text(found) == key.default, name


# Words


def test_the_nearest_name_is_found() -> None:
    assert nearest("epochs", keys()) == ["training.epochs"]
    assert nearest("Training.Epochs", keys()) == ["training.epochs"]
    assert nearest("learning_rate", keys()) == ["training.learning_rate"]
    assert nearest("training.zzz", keys()) == [], "a section in common is no likeness"
    assert nearest("zzz", keys()) == []
    assert nearest("anything", []) == []


def test_what_stands_there_is_shown_short() -> None:
    assert found_text({"a": 1}) == "a table"
    assert found_text("x" * 1000) == f'"{"x" * 56}...'
    assert found_text(1e-05) == "1e-05"
    with pytest.raises(TypeError):
        value_text(None)


def test_a_key_of_the_first_version_is_refused_with_its_present_name() -> None:
    for old, new in RENAMED.items():
        section, _, name = old.partition(".")
        head = "" if section == "strategy" else f"[{section}]\n"
        (fault,) = faults(SMALL + f"{head}{name} = 3\n")
        assert fault.startswith(f"{old} (line") and fault.endswith(f"this key is now called {new}")
        assert new in keys() and old not in keys()
    phases = 'phases = [{ stages = ["*"], rate = 0.1 }]\n'
    text = SMALL.replace('name = "full"', 'name = "phases"') + phases
    assert "rate of number 1 is now called learning_rate_factor" in faults(text)[0]


def test_the_recipe_of_a_run_of_the_first_version_is_read_and_names_the_same_folder() -> None:
    old = (
        SMALL + "[training]\nrate = 0.02\nclip = 1.0\n[evaluation]\nthreshold = 'sensitivity'\ntarget = 0.9\n"
    )
    recipe = load(old, of_a_run=True)
    assert recipe.training.learning_rate == 0.02 and recipe.evaluation.threshold_target == 0.9
    assert recipe == load(to_toml(recipe)) == load(to_toml(recipe), of_a_run=True)
    # computed by version 0.1.0, whose digest named the folder of the run
    assert recipe.digest() == "9a8d77d5d66578ecc4487f65b1ba705e6f274bbcc9c36ea064c00cff5a62e9d3"
