"""Text that people read uses the field's standard terms: the words below are not used, each with its replacement."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# Pattern (matched without regard to case) and what to write in its place.
WORDS = {
    r"outlin(?:e|es|ed|ing)": "segment, segmentation, mask, contour",
    r"pictures?": "image, volume, frame",
    r"judg(?:e|es|ed|ing)": "evaluate, evaluation",
    r"(?:is|are|was|were|be|been) told": "label, target, prediction",
    r"what is said|was said|is said|are said": "is reported",
    r"may learn|learns|learned|learner": "train, trainable (of layers)",
    r"kept features|features at hand|at hand": "cached, available",
    r"to be had": "available",
    r"(?:go|goes|going|gone|went) on with|(?:go|goes|going|gone|went) on (?:behind|where)": "resume, continue",
    r"(?:of |one's |anybody's |somebody's )own|anybody's": "your own data, custom",
    r"astray|a fault of": "wrong, invalid",
    r"is called|are called|was called|were called": "is predicted, is classified as",
    r"among people": "reader study",
    r"of any program|somebody else(?:'s)?|somebody's|stranger(?:'s|s)?": "external, custom",
    r"made-up|made up": "synthetic",
    r"stands? (?:in|on|at|beside|for|by|there|over|below|above)|stood": "is (in, on, beside)",
    r"lies? (?:in|on|at|beside|by|about|there|behind)|lay (?:in|on|at|beside)": "is (in, on, beside)",
    r"met again|meets?|met": "appears, encounters",
    r"mend(?:s|ed|ing)?": "fix",
    r"bears?|borne": "tolerates, allows",
    r"tells?|telling": "says, shows, distinguishes",
    r"begun|anew": "started; again",
    r"of use|no use for": "used, not used",
    r"by which conventions": "protocol",
    r"put(?:s|ting)? (?:together|right)": "combine, correct",
    r"as it (?:is|was) meant": "",
    r"ledger of trainability": "training ledger",
    r"moving average": "EMA",
    r"low-rank updates?": "LoRA",
    r"where a network looked": "Grad-CAM",
    r"rate finding": "learning-rate finder",
    r"does not suffice|do not suffice|suffices?": "is not enough, is enough",
    r"carr(?:y|ied|ies) out": "run",
    r"twins?": "duplicates",
    r"allot(?:s|ted|ment|ting)?": "assign, assignment",
}
PATTERN = re.compile("|".join(rf"(?P<w{n}>\b(?:{word})\b)" for n, word in enumerate(WORDS)), re.IGNORECASE)

# Files, or text in which a word is right, each with the reason.
RIGHT_HERE: dict[str, str] = {
    "Moore-Penrose": "a name",
    "picture cam": "keys of the index files of a run",
    "the key pictures is now called images": "an old key",
    "network learns": "what networks do",
    "network may learn": "what networks do",
    "labels learns": "what networks do",
}


# Keys and column names of files and JSON output that users have: they stay as they are.
KEYS = {"picture", "pictures", "learner"}


def python_text(source: str) -> Iterator[tuple[int, str]]:
    """Comments, docstrings and messages of a Python file, each with its line; regular expressions are left out."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value not in KEYS:
            yield node.lineno, node.value


def faults(text: str, line: int = 1) -> list[str]:
    """Words of the list in a text, each with its line and what to write."""
    for right in RIGHT_HERE:
        text = text.replace(right, "")
    found = []
    for match in PATTERN.finditer(text):
        advice = list(WORDS.values())[int(str(match.lastgroup)[1:])]
        at = line + text.count("\n", 0, match.start())
        found.append(f"line {at}: {match.group()!r} (write: {advice})")
    return found


def files() -> list[Path]:
    """Source, documents and recipes; the links of src/graftwork to other folders are not followed."""
    folders = ("common", "domains", "recipes", "data_cards", "docs", "src", "benchmarks")
    kinds = {".py", ".md", ".toml", ".j2"}
    found = [
        path
        for folder in folders
        for path in (ROOT / folder).rglob("*")
        if path.suffix in kinds and path.resolve() == path
    ]
    return [*sorted(found), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_text_uses_standard_terms(path: Path) -> None:
    text = path.read_text("utf-8")
    if path.suffix == ".py":
        found = [fault for line, piece in python_text(text) for fault in faults(piece, line)]
    else:
        found = faults(text)
    assert not found, "\n".join(found)


def test_the_check_finds_a_word_and_leaves_others() -> None:
    assert faults("The model outlines tumours in the pictures.")
    assert not faults("The model segments tumours in the images.")
