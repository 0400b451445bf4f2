"""Where the data directory and the tablespaces go: never into one another, nor among what we keep."""

import os

import pytest
from support.values import record

from backup.locations import refuse_misplaced, tablespace_locations
from catalog.errors import Corrupt, DestinationRefused, UsageError
from catalog.record import Tablespace

FAST = Tablespace(16385, "fast", "/mnt/fast")
SLOW = Tablespace(16386, "slow", "/mnt/slow")
IN_PLACE = Tablespace(16387, "inside", "pg_tblspc/16387")


def having(*tablespaces):
    return record(tablespaces=tablespaces, data_directory="/srv/old")


def test_tablespaces_go_where_they_were_unless_mapped_by_name_or_oid():
    wanted = {"slow": "/srv/new/", "16385": "/srv/../srv/fast"}
    found = tablespace_locations(having(FAST, SLOW, IN_PLACE), wanted, "/srv/pg")
    assert found == {16385: "/srv/fast", 16386: "/srv/new", 16387: "/srv/pg/pg_tblspc/16387"}
    assert tablespace_locations(having(FAST), {}, "/srv/pg") == {16385: "/mnt/fast"}


@pytest.mark.parametrize(
    "mapping, words", [({"other": "/x"}, "no tablespace 'other'"), ({"fast": "x"}, "'x'")]
)
def test_a_mapping_that_makes_no_sense_is_a_usage_error(mapping, words):
    with pytest.raises(UsageError, match=words) as caught:
        tablespace_locations(having(FAST), mapping, "/srv/pg")
    assert caught.value.hint


@pytest.mark.parametrize(
    "mapping",
    [
        {"fast": "/srv/pg"},
        {"fast": "/srv/pg/base"},
        {"fast": "/srv"},
        {"fast": "/srv/x", "slow": "/srv/x"},
        {"fast": "/srv/x", "slow": "/srv/x/y"},
        {"fast": "/srv/pg/pg_tblspc_fast"},
        {"fast": "/srv/pg/pg_tblspc"},
        {"fast": "/srv/pg/pg_tblspc/16385"},
        {"fast": "/srv/pg/pg_tblspc/1", "slow": "/srv/pg/pg_tblspc/1"},
    ],
)
def test_what_lies_in_one_another_is_refused(mapping):
    with pytest.raises(UsageError, match="lies in"):
        tablespace_locations(having(FAST, SLOW), mapping, "/srv/pg")


def test_a_tablespace_inside_the_data_directory_moves_with_it():
    inside = Tablespace(16388, "near", "/srv/old/spaces/near/")
    beside = Tablespace(16389, "beside", "/srv/old2")
    found = tablespace_locations(having(inside, beside), {}, "/srv/pg")
    assert found == {16388: "/srv/pg/spaces/near", 16389: "/srv/old2"}
    assert tablespace_locations(having(inside), {"near": "/mnt/x"}, "/srv/pg") == {16388: "/mnt/x"}


@pytest.mark.parametrize("location", ["pg_tblspc/1", "pg_tblspc", "../x", "", "."])
def test_a_relative_location_is_the_tablespace_s_own_or_corrupt(location):
    with pytest.raises(Corrupt, match="relative"):
        tablespace_locations(having(Tablespace(16387, "odd", location)), {}, "/srv/pg")


def test_overlap_is_seen_through_links(tmp_path):
    (tmp_path / "pg").mkdir()
    os.symlink(tmp_path / "pg", tmp_path / "link")
    with pytest.raises(UsageError, match="lies in"):
        tablespace_locations(having(FAST), {"fast": str(tmp_path / "link" / "x")}, str(tmp_path / "pg"))


@pytest.mark.parametrize(
    "where", ["main", "main/wals/new", "link/base/x", "cluster/sub", "cluster/pg_tblspc/1/deep"]
)
def test_no_place_in_a_repository_or_a_cluster_is_restored_to(tmp_path, where):
    (tmp_path / "main").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "main")
    (tmp_path / "cluster").mkdir()
    (tmp_path / "cluster" / "PG_VERSION").write_text("18\n")
    with pytest.raises(DestinationRefused, match="lies in"):
        refuse_misplaced([str(tmp_path / where)], [str(tmp_path / "main")])
    refuse_misplaced([str(tmp_path / "main2"), str(tmp_path / "cluster")], [str(tmp_path / "main")])
