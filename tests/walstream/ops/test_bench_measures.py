"""What figures of a bench mean: summaries, and the sentence about what limits a setup."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from walstream.ops.bench_measures import AGE, DISK, NOWHERE, Findings, Latency, Rate

MIB = 1 << 20


def rate(megabytes, cores=0.3):
    return Rate(megabytes * MIB, 1.0, cores)


def limit(stored="zstd", cores=2, **rates):
    found = Findings(
        nbytes=1,
        cores=cores,
        stored=stored,
        rates={AGE if name == "age" else name: each for name, each in rates.items()},
        latencies={},
        skipped={},
        settings={},
    )
    return found.limit


def test_a_disk_that_takes_less_than_the_server_sends_is_the_limit():
    said = limit(nowhere=rate(1000), disk=rate(300), zstd=rate(400))
    assert said == "the disk limits this setup: 300 MiB/s, where the server sends 1000 MiB/s"


def test_a_codec_that_is_slower_than_the_disk_is_the_limit():
    said = limit(nowhere=rate(1000), disk=rate(500), zstd=rate(400, cores=1.2))
    assert said.startswith("the codec (zstd) limits this setup: 400 MiB/s")


def test_a_codec_that_is_not_the_server_s_limits_nothing():
    assert "walsender" in limit(stored=None, nowhere=rate(1000), disk=rate(990), gzip=rate(100))


def test_a_codec_that_keeps_all_cores_busy_shows_that_the_cpu_is_the_limit():
    said = limit(nowhere=rate(1000), disk=rate(990), zstd=rate(400, cores=1.9))
    assert said.startswith("the CPU of this host limits this setup: zstd keeps 1.9 of 2 cores busy")


def test_receiving_that_keeps_a_core_busy_by_itself_shows_that_the_cpu_is_the_limit():
    said = limit(nowhere=rate(1000, cores=0.97), disk=rate(990), zstd=rate(990))
    assert said.startswith("the CPU of this host limits this setup: receiving alone")


def test_a_host_that_takes_in_all_that_is_sent_is_limited_by_the_server():
    said = limit(nowhere=rate(200), disk=rate(195), zstd=rate(190))
    assert said.startswith("the server's walsender (or the network) limits this setup: it sends 200 MiB/s")


@pytest.mark.parametrize("rates", [{}, {NOWHERE: rate(1)}, {DISK: rate(1)}])
def test_without_figures_nothing_is_said_of_the_limit(rates):
    assert "too little WAL" in limit(**rates)


def test_a_rate_knows_what_it_is_per_second():
    assert Rate(10, 4.0, 2.0).per_second == 2.5
    assert Rate(10, 4.0, 2.0).cores == 0.5
    assert Rate(10, 4.0, None).cores is None


def test_the_median_and_the_slowest_of_a_hundred_are_values_that_were_measured():
    assert Latency.of([float(each) for each in range(100, 0, -1)]) == Latency(100, 50.0, 99.0)
    assert Latency.of([3.0]) == Latency(1, 3.0, 3.0)


@given(st.lists(st.floats(0, 1e6), min_size=1))
def test_a_summary_is_in_order_and_made_of_what_was_measured(times):
    found = Latency.of(times)
    assert found.count == len(times)
    assert min(times) <= found.median <= found.p99 <= max(times)
    assert {found.median, found.p99} <= set(times)
