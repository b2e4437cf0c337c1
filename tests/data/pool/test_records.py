import functools
import hashlib
import pickle
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semivl_cli.data.contract import Record, TarEntry
from semivl_cli.data.pool import records as module
from semivl_cli.data.pool.hidden_masks import Hidden
from semivl_cli.data.pool.records import Records, digest_of_ids, id_hash
from semivl_cli.errors import InputError, RunError

BASE = Path("/data/mine")


def pixels(number):
    return np.full((2, 2, 3), number, np.uint8)


TEXT = st.text(st.characters(codec=None, categories=None), max_size=12)  # surrogates too: bytes that are no UTF-8
NAMES = TEXT.map(lambda text: text.replace("\0", "")).filter(bool)
PATHS = st.one_of(NAMES.map(Path), NAMES.map(lambda name: BASE / name), NAMES.map(lambda name: BASE / "images" / name))
ENTRIES = st.builds(TarEntry, shard=PATHS, offset=st.integers(0, 2**50), size=st.integers(0, 2**40))
RENDERED = st.integers(0, 255).map(lambda number: functools.partial(pixels, number))
SOURCES = st.one_of(PATHS, ENTRIES, RENDERED)


@st.composite
def anything(draw):
    record_id = draw(TEXT)
    named = st.sampled_from([BASE / "images" / f"{record_id}.jpg".replace("\0", "")])
    label = draw(st.one_of(st.none(), SOURCES, named))
    return Record(id=record_id, image=draw(st.one_of(SOURCES, named)), label=label)


@settings(max_examples=50)
@given(st.lists(anything(), max_size=70))
def test_records_come_back_as_they_went_in(given):
    kept = Records.of(iter(given), BASE)
    assert list(kept) == given
    assert [kept[place] for place in range(len(kept))] == given
    assert [kept[place - len(kept)] for place in range(len(kept))] == given
    assert kept[1::2] == tuple(given[1::2])
    assert kept.labeled.tolist() == [place for place, record in enumerate(given) if record.label is not None]
    assert kept.hashes.tolist() == sorted(id_hash(record.id) for record in given)
    assert kept.digest() == digest_of_ids(record.id for record in given)
    with pytest.raises(IndexError):
        kept[len(given)]


@settings(max_examples=30)
@given(st.lists(anything().filter(lambda r: not callable(r.image) and not callable(r.label)), max_size=40))
def test_a_file_holds_the_same_and_finds_its_images_where_they_moved(tmp_path_factory, given):
    path = tmp_path_factory.mktemp("kept") / "records"
    Records.of(given, BASE).save(path)
    assert [file.name for file in path.parent.iterdir()] == ["records"]
    assert list(Records.open(path)) == given
    assert list(pickle.loads(pickle.dumps(Records.open(path)))) == given
    moved = Records.open(path, Path("/elsewhere"))
    for record, now in zip(given, pickle.loads(pickle.dumps(moved)), strict=True):
        below = isinstance(record.image, Path) and str(record.image).startswith("/data/mine/")
        assert now.image == (Path("/elsewhere") / record.image.relative_to(BASE) if below else record.image)


def many(count, name="train/n{0:03d}/image-{1:06d}"):
    for number in range(count):
        record_id = name.format(number // 1000, number)
        label = BASE / "masks" / f"{record_id}.png" if number % 10_000 == 0 else None
        yield Record(id=record_id, image=BASE / "images" / f"{record_id}.jpg", label=label)


def test_a_record_takes_few_bytes():
    kept = Records.of(many(5000), BASE)
    assert len(pickle.dumps(kept)) / 5000 < 64


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-1], lambda data: data[100:], lambda data: b"", lambda data: data[:50]]
)
def test_a_file_that_is_not_whole_is_not_taken(tmp_path, damage):
    path = tmp_path / "records"
    Records.of(many(100), BASE).save(path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=r"no records, or not all|cannot mmap an empty file"):
        Records.open(path)


def test_bytes_that_changed_are_noticed_or_are_other_records(tmp_path):
    path, rng = tmp_path / "records", random.Random(0)
    Records.of(many(100), BASE).save(path)
    whole = path.read_bytes()
    ends = set()
    for _ in range(300):
        data = bytearray(whole)
        for _ in range(rng.randrange(1, 4)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        path.write_bytes(data)
        try:
            records = Records.open(path)
            assert len([*records, records[-1]]) == 101
        except ValueError:
            ends.add("not whole")
        except InputError as error:
            assert "damaged at byte" in str(error)
            ends.add("damaged")
        else:
            ends.add("read")
    assert ends == {"not whole", "damaged", "read"}


def test_a_function_is_never_written_to_a_file(tmp_path):
    with pytest.raises(ValueError, match="function"):
        Records.of([Record(id="a", image=functools.partial(pixels, 1))], BASE).save(tmp_path / "records")
    assert not list(tmp_path.iterdir())


def test_a_path_with_a_nul_is_refused():
    with pytest.raises(InputError, match="NUL"):
        Records.of([Record(id="a", image=Path("a\0b"))], BASE)


def test_a_full_disk_is_told_with_the_remedy(monkeypatch):
    def full():
        yield from many(3)
        raise OSError(28, "No space left on device")

    with pytest.raises(RunError, match=r"has no room for the list of images .*TMPDIR"):
        Records.of(full(), BASE)


def test_the_digest_of_many_ids_needs_no_sorting_and_knows_no_order(monkeypatch):
    given = list(many(50))
    exact = Hidden(Records.of(given, BASE), [3, 7]).digest()
    monkeypatch.setattr(module, "_SORTED_IDS", 10)
    summed = Hidden(Records.of(given, BASE), [3, 7]).digest()
    assert summed != exact
    assert Records.of([r for n, r in enumerate(reversed(given)) if n not in (46, 42)], BASE).digest() == summed
    assert Hidden(Records.of(given, BASE), [3, 8]).digest() != summed
    total = sum(int.from_bytes(hashlib.sha256(record.id.encode()).digest(), "little") for record in given)
    assert Records.of(given, BASE).digest() == hashlib.sha256(f"50 {total % 2**256:x}".encode()).hexdigest()
