"""All records but some, without their labels."""

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from semivl_cli.data.contract import Record
from semivl_cli.data.pool.hidden_masks import Hidden
from semivl_cli.data.pool.records import Records, digest_of_ids

BASE = Path("/data/mine")


@settings(max_examples=50)
@given(st.integers(0, 60), st.sets(st.integers(0, 99)))
def test_hidden_records_are_all_but_some_without_their_labels(count, left_out):
    left_out = [number for number in left_out if number < count]
    given = [Record(id=str(number), image=Path("i"), label=Path("m")) for number in range(count)]
    hidden = Hidden(Records.of(given, BASE), left_out)
    expected = [
        Record(id=record.id, image=record.image) for number, record in enumerate(given) if number not in left_out
    ]
    assert list(hidden) == [hidden[place] for place in range(len(hidden))] == expected
    assert list(hidden[:3]) == expected[:3]
    assert [str(hidden.number(place)) for place in range(len(hidden))] == [record.id for record in expected]
    assert hidden.digest() == digest_of_ids(record.id for record in expected)
