import pytest
from support.published import cluster
from support.values import record

from walstream.ops.check_server import summarizer_items

FULL = record()
CHANGED = record(4, 5, type="incremental", parent=FULL.id)
ON, OFF = cluster(summarize_wal="on"), cluster(summarize_wal="off")


@pytest.mark.parametrize("newest", [None, FULL])
def test_where_no_incremental_backups_are_taken_nobody_asks_for_summaries(newest):
    assert summarizer_items(OFF, newest) == []
    assert summarizer_items(None, CHANGED) == []


def test_where_they_are_taken_the_server_must_go_on_summarizing():
    (good,), (bad,) = summarizer_items(ON, CHANGED), summarizer_items(OFF, CHANGED)
    assert good.ok and not bad.ok
    assert "ALTER SYSTEM SET summarize_wal = on" in bad.remedy
