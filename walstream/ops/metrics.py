"""Figures in Prometheus' text format, as its own library writes it: the only door to that. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from walstream import __version__
from walstream.ops.figures import ServerFigures
from walstream.ops.metric_table import METRICS, TOTAL, Metric

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
_BUILD = "walstream_build_info"


def exposition(servers: Sequence[ServerFigures], now: float) -> bytes:
    """The text of a scrape; ``now`` is Unix time."""
    return generate_latest(_Scrape(servers, now))


def names() -> dict[str, tuple[str, ...]]:
    """Every metric that there is, with its labels."""
    return {_BUILD: ("version",)} | {metric.name: metric.labels for metric in METRICS}


class _Scrape(Collector):
    """What the library wants to ask for the metrics of one moment."""

    def __init__(self, servers: Sequence[ServerFigures], now: float) -> None:
        self._servers = servers
        self._now = now

    def collect(self) -> Iterator[Family]:
        build = GaugeMetricFamily(_BUILD, "The version of walstream that tells all this", labels=("version",))
        build.add_metric((__version__,), 1)
        yield build
        for metric in METRICS:
            yield _family(metric, self._servers, self._now)


def _family(metric: Metric, servers: Iterable[ServerFigures], now: float) -> Family:
    family: GaugeMetricFamily | CounterMetricFamily
    if metric.name.endswith(TOTAL):
        family = CounterMetricFamily(metric.name, metric.meaning, labels=metric.labels)
    else:
        family = GaugeMetricFamily(metric.name, metric.meaning, labels=metric.labels)
    for server in servers:
        found = metric.read(server, now)
        values = {(): found} if not isinstance(found, Mapping) else {(each,): found[each] for each in found}
        for labels, value in values.items():
            if value is not None:
                family.add_metric((server.name, *labels), float(value))
    return family
