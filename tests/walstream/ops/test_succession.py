"""Which settings a receiver begins with, and goes on with."""

from contextlib import contextmanager

from walstream.ops import succession
from walstream.ops.succession import Setup, Succession
from walstream.receiving import ReceiveOptions


class Recorded:
    """A receiver and its target in one, which ends as soon as it runs."""

    def __init__(self) -> None:
        self.hosts: list[str] = []

    @contextmanager
    def receiver_into(self, repository, place, options):
        self.hosts.append(options.conninfo)
        yield self, self

    def run(self) -> None:
        """Nothing: the server was there."""

    def stop(self) -> None:
        """Nothing runs."""

    def close(self, patience: float) -> None:
        """Nothing was received."""


def test_settings_that_were_announced_before_it_began_are_those_it_begins_with(monkeypatch):
    recorded = Recorded()
    monkeypatch.setattr(succession, "receiver_into", recorded.receiver_into)
    former, fresh = (Setup(None, ReceiveOptions(conninfo=host)) for host in ("host=gone", "host=there"))
    ours = Succession(former, lambda: fresh)
    ours.renew()
    ours.run(None)
    assert recorded.hosts == ["host=there"]
