"""Asking for metrics as a monitoring system does, and reading them with its own parser."""

from __future__ import annotations

import contextlib
import http.client
import socket

from prometheus_client.parser import text_string_to_metric_families

Samples = dict[tuple[str, ...], float]


def free_port() -> int:
    """A port of the loopback address on which nobody listens now."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def answer_of(port: int, path: str) -> tuple[int, str]:
    """Status and text of a page; status 0 when nobody answers, or ends while it does."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    with contextlib.closing(connection):
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        except (OSError, http.client.IncompleteRead):
            return 0, ""


def samples_of(text: str) -> Samples:
    """Every value by the metric's name and its labels' values, in the order of the labels' names."""
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        assert family.documentation, f"{family.name} is not explained"
        for sample in family.samples:
            key = (sample.name, *(sample.labels[name] for name in sorted(sample.labels)))
            assert key not in found, f"{key} is there twice"
            found[key] = sample.value
    return found
