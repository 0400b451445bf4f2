"""``config-switch``: put a model in force for a server, or none, and have its receiver go on with that."""

from __future__ import annotations

import os
from dataclasses import dataclass

from catalog import layout
from catalog.active_model import clear_active_model, read_active_model, write_active_model
from catalog.errors import ConfigurationError, RepositoryError
from walstream.ops.renew import Told, renew_receiver
from walstream.settings.load import load
from walstream.settings.models import cluster_of, model_for
from walstream.settings.options import REPOSITORY
from walstream.settings.server import Configuration, joined


@dataclass(frozen=True, slots=True)
class Switched:
    """``model`` is in force now, ``former`` was before; None for none."""

    server: str
    model: str | None
    former: str | None
    told: Told


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
    return Switched(server, model, former, renew_receiver(server, repository, home, wanted=wanted))


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
