import pytest

from catalog import layout

NAME = "00000001000000AB000000CD"


@pytest.mark.parametrize(
    "name, suffix, key",
    [
        (NAME, "", f"wals/00000001000000AB/{NAME}"),
        (NAME, ".zst", f"wals/00000001000000AB/{NAME}.zst"),
        (f"{NAME}.partial", ".gz", f"wals/00000001000000AB/{NAME}.partial.gz"),
        (f"{NAME}.00000028.backup", "", f"wals/00000001000000AB/{NAME}.00000028.backup"),
        ("0000000A.history", "", "wals/0000000A.history"),
    ],
)
def test_wal_lies_by_its_first_16_digits_and_histories_above(name, suffix, key):
    assert layout.wal_key(name, suffix) == key
    assert key.startswith(layout.wal_directory(name) + "/")


def test_what_belongs_to_a_backup_lies_in_its_directory():
    assert layout.backup_key("20260131T120000", layout.RECORD) == "base/20260131T120000/record.json"
    assert layout.backup_wal_key("20260131T120000", NAME, ".zst") == f"base/20260131T120000/wal/{NAME}.zst"
    assert layout.backup_directory("20260131T120000") == "base/20260131T120000"


def test_archives_are_named_by_tablespace():
    assert (layout.archive_name(None), layout.archive_name(16385)) == ("base.tar", "16385.tar")
