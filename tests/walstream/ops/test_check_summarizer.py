from dataclasses import replace
from types import MappingProxyType

import pytest
from support.values import record

from walstream.ops.check_server import summarizer_items
from walstream.server import ClusterFacts

FULL = record()
CHANGED = record(4, 5, type="incremental", parent=FULL.id)
ON = ClusterFacts(
    version=180000,
    in_recovery=False,
    role="postgres",
    may_replicate=True,
    may_switch_wal=True,
    clock_offset=0.0,
    slots=1,
    wal_senders=1,
    settings=MappingProxyType({"summarize_wal": "on"}),
    tablespaces=(),
)
OFF = replace(ON, settings=MappingProxyType({"summarize_wal": "off"}))


@pytest.mark.parametrize("newest", [None, FULL])
def test_where_no_incremental_backups_are_taken_nobody_asks_for_summaries(newest):
    assert summarizer_items(OFF, newest) == []
    assert summarizer_items(None, CHANGED) == []


def test_where_they_are_taken_the_server_must_go_on_summarizing():
    (good,), (bad,) = summarizer_items(ON, CHANGED), summarizer_items(OFF, CHANGED)
    assert good.ok and not bad.ok
    assert "ALTER SYSTEM SET summarize_wal = on" in bad.remedy
