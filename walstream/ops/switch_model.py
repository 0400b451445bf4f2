"""``config-switch``: put a model in force for a server, or none, and have its receiver go on with that."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

from catalog import layout
from catalog.active_model import clear_active_model, read_active_model, write_active_model
from catalog.errors import Busy, ConfigurationError, RepositoryError, WalstreamError
from catalog.repository import open_repository
from catalog.state import ReceiverState, is_stopped, live_receiver_state, receiver_holder
from walstream.ops.renew import Told, renew_receiver
from walstream.settings.load import load
from walstream.settings.models import cluster_of, model_for
from walstream.settings.options import REPOSITORY
from walstream.settings.server import Configuration, ServerSettings, joined
from walstream.standing import STREAMING

POLL = 0.05


@dataclass(frozen=True, slots=True)
class Switched:
    """``model`` is in force now, ``former`` was before; None for none.

    ``at`` (Unix time) whoever receives was ``told``, in ``home``; ``wanted``: it is to receive from now on.
    ``before`` and ``after`` are the server's settings, None for those that are wrong; ``repository`` is where its
    WAL goes.
    """

    server: str
    model: str | None
    former: str | None
    told: Told
    home: str
    at: float
    wanted: bool
    before: ServerSettings | None
    after: ServerSettings | None
    repository: str

    @property
    def left_slot(self) -> str | None:
        """The slot that we no longer read from, on a host or by a name that was left; None if there is none."""
        before, after = self.before, self.after
        if before is None or after is None or before.slot_name is None or not before.streaming_archiver:
            return None
        places = [(each.wal_streaming_conninfo, each.slot_name) for each in (before, after)]
        return before.slot_name if places[0] != places[1] else None

    @property
    def way_back(self) -> str:
        """What puts in force what was before."""
        if self.former == self.model:
            return "change conninfo to that server's"
        return f"walstream config-switch {self.server} {self.former or '--reset'}"

    @property
    def is_awaited(self) -> bool:
        """Whether somebody was told who makes the new settings hold at once."""
        told = self.told
        if told.is_backup or (self.wanted and is_stopped(self.home)):
            return False
        return told.receiver is not None or told.supervisor is not None


def switch_model(config: str | None, server: str, model: str | None) -> Switched:
    """Put ``model`` in force, None for the server's own section alone; durable before anybody is told.

    Nothing changes when the model is unknown, another cluster's or wrong, or does not fit the server's section.
    ``None`` is possible also while the server is disabled for the sake of its model. ``Busy`` when it is done, but
    whoever receives cannot be told.
    """
    current = load(config)
    if server not in current.names:
        current.server(server)  # says what is wrong with that name
    root = current.globals.walstream_home
    if current.problems or root is None:
        raise joined(current.problems)
    home = os.path.join(root, server)

    def afterwards(each: str) -> str | None:
        return model if each == home else read_active_model(each)

    if model is not None:
        _require_fitting(current, server, model)
    after = load(config, active_model=afterwards)
    settings = after.server(server) if model is not None else after.servers.get(server)
    former = _former(home)
    if model is not None:
        _require_state(home, server)
        write_active_model(home, model)
    else:
        clear_active_model(home)
    wanted = settings is None or (settings.active and settings.streaming_archiver)
    repository = os.path.join(current.lookups[server].get(REPOSITORY) or root, server)
    at = time.time()
    told = renew_receiver(server, repository, home, wanted=wanted)
    before = current.servers.get(server)
    return Switched(server, model, former, told, home, at, wanted, before, settings, repository)


def wait_until_it_holds(done: Switched, patience: float) -> ReceiverState | None:
    """Wait until the receiver streams with the new settings, or has ended if none is wanted; how it is then.

    ``Busy`` when that takes longer than ``patience``, in seconds, and says what the receiver waits for.
    """
    give_up = time.monotonic() + patience
    while True:
        holder, state = receiver_holder(done.home), live_receiver_state(done.home)
        if not done.wanted and holder is None:
            return None
        renewed = state if state is not None and state.started >= done.at else None
        if done.wanted and renewed is not None and renewed.phase == STREAMING:
            return renewed
        if time.monotonic() > give_up:
            raise Busy(
                f"the settings hold, but after {patience:g} s {_why_not(done, holder is not None, state, renewed)}",
                f"see: walstream status {done.server}",
            )
        time.sleep(POLL)


def newest_held(done: Switched) -> int | None:
    """The newest timeline of which there is WAL in the repository; None for none, or if it cannot be read."""
    try:
        held = open_repository(done.repository).inventory()
    except WalstreamError:
        return None  # the receiver says that better
    return max({*held.runs} | {each.timeline for each in held.partials}, default=None)


def _why_not(done: Switched, runs: bool, state: ReceiverState | None, renewed: ReceiverState | None) -> str:
    if not done.wanted:
        return "the receiver has not ended yet"
    if not runs:
        return "no receiver runs"
    if renewed is not None and renewed.trouble:
        return f"the receiver does not stream: {renewed.trouble}"
    if renewed is None and state is not None and state.phase == STREAMING:
        return "the receiver still streams with the former settings"
    return "the receiver does not stream yet"


def _require_fitting(current: Configuration, server: str, name: str) -> None:
    section = current.lookups[server].own[-1]
    model = model_for(server, cluster_of(section), name, current.models)
    if model.errors:
        raise joined(model.errors)


def _require_state(home: str, server: str) -> None:
    if not os.path.isdir(os.path.join(home, layout.STATE)):
        raise RepositoryError(
            f"nothing was ever received from {server!r}, so there is no place to note its model in",
            f"receive from it once: walstream receive-wal {server}; or change its section instead",
        )


def _former(home: str) -> str | None:
    try:
        return read_active_model(home)
    except ConfigurationError:
        return None  # what cannot be read is about to be replaced
