"""Fixtures only. Those that need PostgreSQL:

- ``pg_version``: the test runs once for each chosen version (``--pg-versions``, by default 15 and 18), less
  what ``@pytest.mark.postgres(minimum=17)`` or ``(maximum=14)`` excludes; or for ``(versions=[13, 18])``.
- ``server``: a running server of that version, shared by all tests of a worker: leave it as it was found.
- ``cluster_factory``: makes servers of the test's own, to break; ``standby_factory``: standbys of those.
- ``network``: a proxy in front of a cluster that stalls, cuts and refuses (``support.proxy``).
- ``rounds`` and ``chance``: for tests of faults (``--rounds``, ``--seed``).
- ``story`` and ``recovery``: a repository of two timelines, and recoveries from it (``support.recoveries``).
- ``protect``: puts a cluster under walstream's protection, with commands that run as processes
  (``support.forked``).

A version that is not here is skipped, and named in the report's header; ``--require-servers`` forbids it.
"""

import contextlib
import itertools
import os
import random
import shutil
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from support.clusters import (
    DEFAULT_VERSIONS,
    Cluster,
    available,
    make_standby,
    missing,
    short_directory,
    short_root,
)
from support.commands import Commands
from support.protection import ROOT, Protection, wait_until
from support.proxy import Proxy
from support.recoveries import Recovery, tell

from walstream.ops.installation import version_text

# Machines are shared: how long an example takes says nothing.
settings.register_profile("walstream", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("walstream")

os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", short_root())  # where tmp_path is


def pytest_addoption(parser):
    group = parser.getgroup("walstream")
    chosen = os.environ.get("WALSTREAM_PG_VERSIONS") or ",".join(map(str, DEFAULT_VERSIONS))
    group.addoption("--pg-versions", default=chosen, help="run server tests with these (%(default)s)")
    group.addoption("--rounds", type=int, default=3, help="rounds of each test of faults (%(default)s)")
    group.addoption("--seed", type=int, default=None, help="repeat the faults of an earlier run")
    group.addoption("--require-servers", default="", help="fail at once unless these versions are here")


def pytest_configure(config):
    config.addinivalue_line(
        "markers",
        "postgres(minimum, maximum, versions): needs PostgreSQL; added by itself to what uses a server",
    )
    absent = missing(_versions(config.getoption("--require-servers")))
    if absent:
        raise pytest.UsageError(f"required PostgreSQL servers are missing: {_shown(absent)}")


def pytest_report_header(config):
    found = [f"PostgreSQL {version_text(path)} in {path}" for path in available().values()]
    absent = missing(_versions(config.getoption("--pg-versions")))
    if absent:
        found.append(f"!!! NO PostgreSQL {_shown(absent)}: THEIR TESTS ARE SKIPPED !!!")
    return found or ["!!! NO PostgreSQL SERVER AT ALL !!!"]


def pytest_generate_tests(metafunc):
    if "pg_version" not in metafunc.fixturenames:
        return
    marker = metafunc.definition.get_closest_marker("postgres")
    limits = dict(marker.kwargs) if marker else {}
    chosen = limits.get("versions") or _versions(metafunc.config.getoption("--pg-versions"))
    kept = [v for v in chosen if limits.get("minimum", 0) <= v <= limits.get("maximum", 99)]
    absent = missing(kept)
    metafunc.parametrize("pg_version", [_parameter(v, absent) for v in kept], scope="session")


def pytest_collection_modifyitems(items):
    for item in items:
        if "pg_version" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.postgres)


def _parameter(version, absent):
    marks = []
    if version in absent:
        marks.append(pytest.mark.skip(reason=f"no PostgreSQL {version} here; from {absent[version]}"))
    return pytest.param(version, id=f"pg{version}", marks=marks)


def _versions(text):
    return [int(word) for word in text.replace(",", " ").split()]


def _shown(absent):
    return ", ".join(f"{version} (from {source})" for version, source in absent.items())


@pytest.fixture(scope="session")
def shared_servers():
    """Started servers by version; each worker has its own."""
    servers = {}
    with short_directory() as directory:
        yield servers, directory
        for cluster in servers.values():
            cluster.close()


@pytest.fixture(scope="session")
def pg_bin(pg_version):
    """The directory of that version's programs."""
    return available()[pg_version]


@pytest.fixture(scope="session")
def server(pg_version, shared_servers):
    servers, directory = shared_servers
    if pg_version not in servers:
        cluster = Cluster(pg_version, os.path.join(directory, f"pg{pg_version}"))
        cluster.init()
        cluster.start()
        servers[pg_version] = cluster
    return servers[pg_version]


@pytest.fixture
def cluster_directory():
    """A short directory for data directories; a server can reach it whoever runs the tests."""
    with short_directory() as directory:
        yield directory


@pytest.fixture
def cluster_factory(pg_version, cluster_directory):
    """``cluster_factory(settings, start=True, **init)``; ``directory`` names data that is there already."""
    made = []
    numbers = itertools.count(1)

    def make(settings=None, *, start=True, directory=None, version=pg_version, **init):
        place = directory or os.path.join(cluster_directory, f"pg{version}-{next(numbers)}")
        cluster = Cluster(version, place, settings)
        made.append(cluster)
        if directory is None:
            cluster.init(**init)
        if start:
            cluster.start()
        return cluster

    yield make
    for cluster in reversed(made):
        cluster.close()


@pytest.fixture
def standby_factory(cluster_factory, cluster_directory):
    """``standby_factory(primary, settings)``: a started standby that streams from the primary by a slot."""
    numbers = itertools.count(1)

    def make(primary, settings=None, *, start=True):
        name = f"standby_{next(numbers)}"
        place = os.path.join(cluster_directory, name)
        standby = cluster_factory(settings, start=False, directory=place, version=primary.version)
        make_standby(primary, standby, slot=name)
        if start:
            standby.start()
        return standby

    return make


@pytest.fixture
def this_tree(monkeypatch):
    """Servers started in the test find this tree's modules for their restore_command."""
    monkeypatch.setenv("PYTHONPATH", ROOT)


@pytest.fixture
def protect(cluster_directory, this_tree):
    """``protect(cluster, **options)``: a configuration with one server, ``main``, not yet connected to."""
    numbers = itertools.count(1)

    def make(cluster, **options):
        place = os.path.join(cluster_directory, f"protection-{next(numbers)}")
        os.mkdir(place)
        return Protection(place, cluster, {"main": options})

    return make


@pytest.fixture(scope="session")
def stories():
    """Stories by version, each told when it is first asked for; every worker has its own."""
    with short_directory() as directory:
        yield {}, Path(directory)


@pytest.fixture
def story(pg_version, stories, this_tree):
    told, directory = stories
    if pg_version not in told:
        told[pg_version] = tell(pg_version, directory / f"pg{pg_version}")
    return told[pg_version]


@pytest.fixture
def recovery(story):
    """``recovery(*words)``: restored, not yet started; stopped at the end, when nothing of ours may be left."""
    made = []

    def make(*words):
        made.append(Recovery(story, *words))
        return made[-1]

    yield make
    for each in made:
        each.cluster.close()
    for each in made:
        wait_until(each.has_left_nothing)
        shutil.rmtree(each.data, ignore_errors=True)  # which a test may have done


@pytest.fixture
def network():
    """``network(cluster)``: a proxy in front of a cluster, whose network then fails as it is told."""
    with contextlib.ExitStack() as made:

        def make(cluster):
            proxy = Proxy(cluster)
            made.callback(proxy.close)
            return proxy

        yield make


@pytest.fixture
def rounds(request):
    """How many rounds a test of faults takes."""
    return request.config.getoption("--rounds")


@pytest.fixture
def chance(request):
    """A source of random moments; a failure shows the seed that repeats them."""
    given = request.config.getoption("--seed")
    seed = random.SystemRandom().randrange(1 << 32) if given is None else given
    print(f"to repeat it: --seed={seed} --rounds={request.config.getoption('--rounds')}")
    return random.Random(seed)


@pytest.fixture
def eventually():
    """``eventually(condition, timeout=30)``: wait until the condition holds."""

    def wait(condition, timeout=30.0):
        limit = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < limit, f"did not come true within {timeout} seconds"
            time.sleep(0.02)

    return wait


@pytest.fixture
def time_zone(monkeypatch):
    """``time_zone("UTC")``: what local time is until the test is over."""

    def choose(name):
        monkeypatch.setenv("TZ", name)
        time.tzset()

    yield choose
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def commands(capsys, tmp_path):
    """``commands("check", "main")``: run a command in this process; see ``support.commands``."""
    return Commands(capsys, str(tmp_path))


@pytest.fixture(scope="module")
def told_once():
    """``told_once(version, tell)``: what ``tell(version, place)`` makes, once for each version in a module."""
    told = {}
    with short_directory() as directory, pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", ROOT)

        def once(version, tell):
            if version not in told:
                told[version] = tell(version, Path(directory) / f"pg{version}")
            return told[version]

        yield once
