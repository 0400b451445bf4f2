from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.values import record

from catalog.lineage import children, defect, lineage

FULL = record(2, 3)
FIRST = record(4, 5, type="incremental", parent=FULL.id)
SECOND = record(6, 7, type="incremental", parent=FIRST.id)
OTHER = record(8, 9, type="incremental", parent=FULL.id)
RECORDS = (FULL, FIRST, SECOND, OTHER)


def test_a_lineage_goes_down_to_the_full_backup():
    assert lineage(SECOND, RECORDS).records == (FULL, FIRST, SECOND)
    assert lineage(OTHER, RECORDS).parents == (FULL,)
    assert lineage(FULL, ()).records == (FULL,)
    assert children(FULL, RECORDS) == (FIRST.id, OTHER.id)


def test_a_parent_that_is_gone_is_named():
    assert lineage(SECOND, [FIRST, SECOND]).missing == FULL.id
    assert FULL.id in defect(SECOND, [FIRST, SECOND], {})
    assert defect(SECOND, RECORDS, {}) is None


def test_damage_counts_for_all_that_are_built_upon_it():
    damaged = {FIRST.id: "'base.tar' is missing"}
    assert defect(SECOND, RECORDS, damaged) == f"its parent {FIRST.id} is damaged: 'base.tar' is missing"
    assert defect(FIRST, RECORDS, damaged) == "'base.tar' is missing"
    assert defect(OTHER, RECORDS, damaged) is None


@pytest.mark.parametrize("change", [{"system_identifier": 1}, {"begin": SECOND.end}])
def test_a_parent_of_another_cluster_or_from_later_is_none(change):
    odd = replace(FIRST, **change)
    assert "cannot be the parent of" in defect(SECOND, (FULL, odd, SECOND), {})


@given(st.lists(st.tuples(st.integers(2, 9), st.integers(2, 9)), max_size=8))
def test_whatever_the_parents_are_there_is_an_end(pairs):
    ids = {minute: record(minute, minute + 0.5).id for minute in range(2, 10)}
    records = [record(own, own + 0.5, type="incremental", parent=ids[parent]) for own, parent in pairs]
    for each in records:
        chain = lineage(each, records).records
        assert chain[-1] == each
        assert all(older.id < younger.id for older, younger in pairwise(chain))
