"""Names: what is one name, what only looks like it, and what never does."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, strategies as st

from graftwork.common.errors import TableError
from graftwork.common.names import clean_name, clean_names, is_no_name, look_alikes, match_names, name_key


@pytest.mark.parametrize(
    "written", ["HAM_1 ", " HAM_1", "HAM_1\t", "HAM_1\u00a0", "\ufeffHAM_1", "HAM_1\u200b", "HAM_1\r"]
)
def test_white_space_at_the_ends_and_invisible_characters_are_no_part_of_a_name(written: str) -> None:
    assert clean_name(written) == "HAM_1"


def test_inner_white_space_and_unicode_form_are_normalised() -> None:
    assert clean_name("Vulpes \u00a0 vulpes") == "Vulpes vulpes"
    assert clean_name(unicodedata.normalize("NFD", "Forêt")) == "Forêt"


@pytest.mark.parametrize("name", ["007", "7.0", "1.10", "P-1", "a_b", "A", "नमूना", "Лиса"])
def test_case_digits_and_punctuation_stay(name: str) -> None:
    assert clean_name(name) == name


@given(st.text())
def test_cleaning_twice_changes_nothing_more(text: str) -> None:
    once = clean_name(text)
    assert clean_name(once) == once


def test_a_column_counts_what_was_changed_and_keeps_what_is_missing() -> None:
    assert clean_names(["a ", None, float("nan"), "a", "  ", 7.0, 7]) == (
        ["a", None, None, "a", None, "7", "7"],
        2,
    )


@pytest.mark.parametrize(
    "names",
    [
        ("7", "007"),
        ("7", "7.0"),
        ("P7", "p7"),
        ("P7", "P-7"),
        ("P_007", "P7"),
        ("12-34", "1234"),
        ("Vulpes_vulpes", "Vulpes vulpes"),
        ("Île 1", "île 1"),
        ("Лиса", "лиса"),
        ("site (A)", "site A"),
    ],
)
def test_names_that_would_meet_are_listed(names: tuple[str, ...]) -> None:
    assert look_alikes(names) == [tuple(sorted(names))]


@pytest.mark.parametrize(
    "names",
    [("1.10", "1.1"), ("1-11", "11-1"), ("P1", "P10"), ("नमूना", "नमन"), ("a", "b"), ("10", "1"), ("+", "-")],
)
def test_different_names_are_not_alike(names: tuple[str, ...]) -> None:
    assert look_alikes(names) == []


def test_signs_tell_classes_apart() -> None:
    assert look_alikes(["HER2+", "HER2-", "<5", ">5"], signs=True) == []
    assert look_alikes(["HER2+", "her2 +"], signs=True) == [("HER2+", "her2 +")]
    assert name_key("HER2−", signs=True) == name_key("HER2-", signs=True)


@pytest.mark.parametrize("name", ["unknown", "Unknown ", "N/A", "Anonymous", "?", "NaN"])
def test_names_that_say_that_there_is_none(name: str) -> None:
    assert is_no_name(name)
    assert not is_no_name(f"{name} 1")


def test_matching_takes_the_exact_name_first_then_the_only_one_alike() -> None:
    assert match_names(["MEL", "NV"], ["mel", "MEL ", "nv"]) == {"MEL": "MEL ", "NV": "nv"}
    assert match_names(["HER2+", "HER2-"], ["HER2-"]) == {"HER2-": "HER2-"}


def test_names_that_cannot_be_told_apart_are_refused_by_name() -> None:
    with pytest.raises(TableError, match=r"'mel', 'Mel'.*'MEL'"):
        match_names(["MEL"], ["mel", "Mel"])
    with pytest.raises(TableError, match="MEL and mel"):
        match_names(["MEL", "mel"], ["Mel"])
    with pytest.raises(TableError, match="are ambiguous"):
        match_names(["a"], ["a", "a "])
