"""Whether weights saw the data: by names, as whole words, and by the files themselves."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest
from safetensors.torch import save_file
from torch import zeros

from graftwork.common.errors import UsageError, WeightsError
from graftwork.common.networks.input_checks import normalisation_fault
from graftwork.common.networks.weights import (
    Overlap,
    WeightsRecord,
    available,
    load_weights,
    overlap,
    overlap_sentence,
    pack,
    unpack,
    weights_folder,
)

FILES = [hashlib.sha256(bytes([number])).hexdigest() for number in range(5)]
HALF = (0.5, 0.5, 0.5)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GRAFTWORK_WEIGHTS", str(tmp_path / "weights"))
    weights_folder().mkdir()
    return weights_folder()


def told(**changes: object) -> WeightsRecord:
    said: dict[str, object] = {"backbone": "resnet18", "source": "file", "origin": "mine.safetensors"}
    return WeightsRecord(**{**said, **changes})  # type: ignore[arg-type]


def written(folder: Path, listed: str | None = None, **card: object) -> Path:
    """A weights file with its card, and the list of files that it names."""
    path = folder / "test_resnet.mine.safetensors"
    save_file({"fc.weight": zeros(2, 96)}, path)
    said: dict[str, object] = {
        "backbone": "test_resnet", "mean": [0.5] * 3, "std": [0.5] * 3, "padding": "", "licence": "CC0",
        "trained_on": "", "classes": 2, "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }  # fmt: skip
    path.with_suffix(".json").write_text(json.dumps({**said, **card}))
    if listed is not None:
        (folder / "test_resnet.mine.seen.txt").write_text(listed)
    return path


@pytest.mark.parametrize(
    ("said", "name", "met"),
    [
        ("ISIC 2019 and more", "ISIC-2019", True),
        ("ISIC2018, task 3", "isic 2018", True),
        ("the birds of iNaturalist", "iNaturalist", True),
        ("ISIC 2019", "ISIC 2018", False),
        ("ISIC 20190", "ISIC 2019", False),
        ("unknown", "own", False),
        ("grown at home, our own images", "own", False),
        ("own", "own", True),
        ("Brown University", "row", False),
        ("ImageNet-1k", "", False),
        ("ImageNet-1k", "--", False),
        ("", "ImageNet", False),
    ],
)
def test_a_dataset_is_named_where_its_name_stands_as_words(said: str, name: str, met: bool) -> None:
    for record in (told(trained_on=said), told(seen=("another", said))):
        assert record.shared_names([name]) == ((name,) if met else ())
        assert bool(record.overlap(["nothing like it", name])) == met
        assert (overlap(record, names=[name]) is not None) == met


def test_files_that_were_seen_are_counted_by_content(folder: Path) -> None:
    listed = "# files\n" + "".join(f"{digest.upper()}  pictures/{digest[:4]}.png\n" for digest in FILES[:3])
    written(folder, listed, seen=["A study"], seen_sha256="test_resnet.mine.seen.txt")
    (record, *_) = available()
    assert overlap(record, names=["another"], digests=FILES[3:], folder=folder) is None
    found = overlap(record, names=["another"], digests=[*FILES[1:], "", FILES[1]], folder=folder)
    assert found == Overlap((), 2, 4)
    said = overlap_sentence(record, found)
    assert "2 of the 4 files of this set, byte for byte" in said and "has seen" in said
    assert overlap(record, names=["another"], digests=FILES) is None, "no folder, nothing compared"
    both = overlap_sentence(record, overlap(record, names=["a study"], digests=FILES, folder=folder))
    assert "trained on a study, of which" in both and "and on 3 of the 5 files" in both
    assert "may have seen" in overlap_sentence(record, overlap(record, names=["a study"]))
    assert overlap_sentence(record, None) == ""


@pytest.mark.parametrize(
    ("listed", "said"),
    [(None, "there is no such file"), (f"{FILES[0]}\nabc\n", "line 2"), (f"{FILES[0]}ff\n", "line 1")],
)
def test_a_list_that_is_missing_or_damaged_is_an_error(folder: Path, listed: str | None, said: str) -> None:
    written(folder, listed, seen_sha256="test_resnet.mine.seen.txt")
    with pytest.raises(WeightsError, match=said):
        overlap(available()[0], names=[], digests=FILES, folder=folder)


@pytest.mark.parametrize(
    ("card", "said"),
    [
        ({"seen": "ImageNet"}, "seen is not a list"),
        ({"seen": [1]}, "seen is not a list"),
        ({"seen_sha256": ["a"]}, "seen_sha256 is not a text"),
        ({"seen_sha256": "../other.txt"}, "seen_sha256 is not the name"),
        ({"seen_sha256": "list.csv"}, "seen_sha256 is not the name"),
    ],
)
def test_what_a_card_says_of_pictures_seen_is_checked(
    folder: Path, card: dict[str, object], said: str
) -> None:
    path = written(folder, **card)
    with pytest.raises(WeightsError, match=said):
        load_weights("test_resnet", file=str(path))


@pytest.mark.parametrize("suffix", [".tar", ".zip"])
def test_the_list_travels_with_the_weights(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    listed = "".join(f"{digest}\n" for digest in FILES)
    written(folder, listed, seen=["A study"], seen_sha256="test_resnet.mine.seen.txt")
    pack(tmp_path / f"all{suffix}", ["test_resnet.mine"])
    monkeypatch.setenv("GRAFTWORK_WEIGHTS", str(tmp_path / "there"))
    (record,) = unpack(tmp_path / f"all{suffix}")
    assert (weights_folder() / record.seen_sha256).read_text() == listed and record.seen == ("A study",)
    assert len(list(weights_folder().iterdir())) == 3


def test_weights_are_not_packed_without_the_list_that_their_card_names(folder: Path, tmp_path: Path) -> None:
    written(folder, None, seen_sha256="test_resnet.mine.seen.txt")
    with pytest.raises(WeightsError, match="there is no such file"):
        pack(tmp_path / "all.tar", ["test_resnet.mine"])
    assert not (tmp_path / "all.tar").exists()


def test_a_text_that_no_card_names_is_not_unpacked(folder: Path, tmp_path: Path) -> None:
    written(folder)
    pack(tmp_path / "all.tar", ["test_resnet.mine"])
    with tarfile.open(tmp_path / "all.tar", "a") as tar:
        header = tarfile.TarInfo("other.txt")
        header.size = 2
        tar.addfile(header, io.BytesIO(b"a\n"))
    before = sorted(path.name for path in folder.iterdir())
    with pytest.raises((WeightsError, UsageError), match=r"other\.txt"):
        unpack(tmp_path / "all.tar")
    assert sorted(path.name for path in folder.iterdir()) == before


# the normalisation that weights expect -----------------------------------------------------------------------


def test_a_normalisation_other_than_that_of_the_card_is_told(folder: Path) -> None:
    path = str(written(folder))
    as_said = load_weights("test_resnet", file=path).record
    assert normalisation_fault((), (), as_said) == ""
    assert normalisation_fault(HALF, HALF, as_said) == "" == normalisation_fault(HALF, (), as_said)
    assert "mean 0.4, 0.5, 0.5" in normalisation_fault((0.4, 0.5, 0.5), HALF, as_said)
    assert normalisation_fault((0.5,), (0.5,), as_said)

    changed = load_weights("test_resnet", file=path, mean=(0.4, 0.5, 0.5)).record
    assert (changed.mean, changed.said_mean, changed.said_std) == ((0.4, 0.5, 0.5), HALF, HALF)
    assert "deviation 0.5, 0.5, 0.5, and the weights (test_resnet.mine.safetensors)" in normalisation_fault(
        changed.mean, changed.std, changed
    )
    json.dumps(changed.to_json(), allow_nan=False)
    assert load_weights("test_resnet", file=path, mean=HALF, std=HALF).record.said_mean == ()


def test_without_a_card_any_normalisation_is_taken(folder: Path) -> None:
    path = written(folder)
    path.with_suffix(".json").unlink()
    record = load_weights("test_resnet", file=str(path), mean=(0.1, 0.2, 0.3), std=HALF).record
    assert record.said_mean == () and normalisation_fault(record.mean, record.std, record) == ""
