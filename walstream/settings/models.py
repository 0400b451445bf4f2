"""Models: sections that change options of servers while ``config-switch`` has them in force. Pure.

A model is a section with ``model = true``; ``cluster`` says of which servers. What is wrong in it is no server's
error as long as it is not in force.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from catalog.errors import ConfigurationError
from walstream.settings import options
from walstream.settings.checking import checked
from walstream.settings.ini import Document, Section
from walstream.settings.locate import RESERVED, model_names, server_names
from walstream.settings.lookup import Lookup
from walstream.settings.nearest import suggestion
from walstream.settings.options import MODEL


@dataclass(frozen=True, slots=True)
class Model:
    """One model; ``cluster`` is None when its section does not say, which is among its ``errors``."""

    name: str
    cluster: str | None
    errors: tuple[ConfigurationError, ...]


def models_of(document: Document) -> dict[str, Model]:
    """All models by name."""
    clusters = {cluster_of(document.sections[name]) for name in server_names(document)}
    return {name: _model(document.sections[name], clusters) for name in model_names(document)}


def cluster_of(section: Section) -> str:
    """The cluster of a server: unless its section says otherwise, its name."""
    return Lookup([section], ()).get(options.CLUSTER) or section.name


def model_for(server: str, cluster: str, name: str, models: Mapping[str, Model]) -> Model:
    """The model of that name, if it can be in force for the server; else ``ConfigurationError``."""
    fitting = sorted(each.name for each in models.values() if each.cluster == cluster)
    known = f"it has {', '.join(fitting[:20])}" if fitting else _how_to_make(cluster)
    model = models.get(name)
    if model is None:
        raise ConfigurationError(
            f"server {server!r} has no model {name!r}", suggestion(name, fitting) or known
        )
    if model.cluster is not None and model.cluster != cluster:
        raise ConfigurationError(
            f"model {name!r} is of cluster {model.cluster!r}, and server {server!r} of {cluster!r}", known
        )
    return model


def lost_model(server: str, name: str, cause: ConfigurationError) -> ConfigurationError:
    """The error of a server whose model in force is not there any more, or is another cluster's now."""
    return ConfigurationError(
        f"{cause.message}, but config-switch has it in force",
        f"put it back, or choose what is to hold: walstream config-switch {server} MODEL|--reset",
    )


def _model(section: Section, clusters: set[str]) -> Model:
    cluster = Lookup([section], ()).get(options.CLUSTER)
    errors: Sequence[ConfigurationError] = checked(section, MODEL)
    if section.name in RESERVED or section.name[0] == "-":
        errors = [*errors, ConfigurationError(f"{section.source}: a model cannot be called '{section.name}'")]
    line = section.find(options.CLUSTER.name)
    if cluster is None:
        lacking = f"{section.source}: 'cluster' is not set in the model [{section.name}]"
        errors = [
            *errors,
            ConfigurationError(lacking, f"add a line such as: cluster = {min(clusters, default='main')}"),
        ]
    elif cluster not in clusters and line is not None:
        about = f"{line.place}: 'cluster' in [{section.name}]: no server is of cluster {cluster!r}"
        listed = f"there are {', '.join(sorted(clusters)[:20])}" if clusters else None
        errors = [*errors, ConfigurationError(about, suggestion(cluster, clusters) or listed)]
    return Model(section.name, cluster, tuple(errors))


def _how_to_make(cluster: str) -> str:
    return f"it has none: a model is a section with model = true and cluster = {cluster}"
