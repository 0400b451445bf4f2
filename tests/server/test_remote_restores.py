"""Clusters restored to another machine, which is this one behind a real sshd, and started there."""

import os
import shlex
import subprocess

import pytest
from support.clusters import Cluster, assert_same_rows, fingerprint
from support.protection import timeline_of, verified_by_postgres
from support.sshd import NO_SSHD, SSHD, Sshd

from catalog.errors import ServerError
from walstream.ops import unprivileged

pytestmark = [
    pytest.mark.skipif(SSHD is None, reason=NO_SSHD),
    pytest.mark.timeout(600),
    pytest.mark.postgres(versions=[18]),  # the server's version plays no role
]


@pytest.fixture(scope="module")
def sshd(tmp_path_factory):
    server = Sshd(tmp_path_factory.mktemp("ssh") / "d")
    yield server
    server.stop()


@pytest.fixture
def elsewhere(cluster_directory):
    """The other machine's disk; names there need quoting by every shell on the way."""
    place = os.path.join(cluster_directory, 'el\'se "wh$ere" 50%')
    os.mkdir(place)
    return place


@pytest.fixture
def origin(cluster_factory, elsewhere, cluster_directory, pg_version):
    """A cluster with two tablespaces and an included file."""
    settings = {"autovacuum": "off"} | ({"summarize_wal": "on"} if pg_version >= 17 else {})
    made = cluster_factory(settings, start=False, checksums=True)
    with open(os.path.join(made.directory, "postgresql.conf"), "a", encoding="utf-8") as file:
        file.write("include 'extra.conf'\n")
    with open(os.path.join(made.directory, "extra.conf"), "w", encoding="utf-8") as file:
        file.write(f"external_pid_file = '{cluster_directory}/origin.pid'\nwork_mem = '7MB'\n")
    unprivileged.way().give(made.directory)
    made.start()
    for name in SPACES:
        location = os.path.join(cluster_directory, "origin-" + name.replace("'", ""))
        os.mkdir(location, 0o700)
        unprivileged.way().give(location)
        made.sql(f"CREATE TABLESPACE \"{name}\" LOCATION '{location}'")
        made.sql(f'CREATE TABLE "{name} t" TABLESPACE "{name}" AS SELECT generate_series(1, 5000) AS i')
    return made


SPACES = ("first", "it's second")


@pytest.fixture
def restored(sshd, elsewhere):
    """``restored(ours, *words)``: a cluster restored there, not yet started; closed at the end."""
    made = []

    def run(ours, *words, code=0, command=None, number=None):
        place = os.path.join(elsewhere, f"data-{len(made) if number is None else number}")
        mapping = [w for name in SPACES for w in ("--tablespace", f"{name}:{place}-{name}")]
        if os.geteuid() == 0:
            mapping += ["--owner", "0"]
        cluster = Cluster(ours.cluster.version, place)
        made.append(cluster)
        words = ("--remote-ssh-command", command or sshd.command, *mapping, *words)
        done = ours.run("restore", "main", "auto", place, *words, code=code)
        unprivileged.way().give(elsewhere)
        return cluster, done

    yield run
    for cluster in made:
        cluster.close()


def recovered(cluster, state="ended"):
    verified_by_postgres(cluster)
    cluster.start()
    assert cluster.wait_for_recovery() == state
    return cluster


def assert_in_their_places(cluster):
    shown = dict(
        cluster.sql("SELECT spcname, pg_tablespace_location(oid) FROM pg_tablespace WHERE oid > 16000")
    )
    assert shown == {name: f"{cluster.directory}-{name}" for name in SPACES}
    assert cluster.one("SHOW external_pid_file") == "" and cluster.one("SHOW work_mem") == "7MB"
    assert cluster.one("SHOW archive_mode") == "off"


def test_without_a_way_back_the_wal_goes_along(origin, protect, restored):
    ours = protect(origin)
    with ours.receiving():
        ours.backup()
        origin.load(rows=3000)
        moment, content = origin.one("SELECT clock_timestamp()::text"), fingerprint(origin)
        origin.load(rows=3000)
        ours.catch_up()
    end, _ = restored(ours)
    middle, _ = restored(ours, "--target-time", moment)
    with ours.away():
        assert_same_rows(recovered(end), origin)
        assert_in_their_places(end)
        assert timeline_of(end) == 2 and end.one("SHOW restore_command") == "exit 1"
        assert fingerprint(recovered(middle, "paused")) == content


def test_with_a_way_back_the_wal_is_fetched_over_ssh(origin, protect, restored, sshd):
    ours = protect(origin, restore_ssh_command=sshd.command)
    with ours.receiving():
        ours.backup()
        origin.load(rows=3000)
        origin.switch_wal()
        origin.load(rows=3000)
        ours.catch_up()
    cluster, _ = restored(ours)
    assert not [name for name in os.listdir(f"{cluster.directory}/pg_wal") if len(name) == 24]
    assert_same_rows(recovered(cluster), origin)
    assert_in_their_places(cluster)
    left = [name for name in os.listdir(f"{cluster.directory}/pg_wal") if "walstream" in name]
    assert left == [] and timeline_of(cluster) == 2


def test_a_way_back_that_is_closed_stops_the_recovery_and_does_not_end_it(
    origin, protect, restored, sshd, eventually
):
    ours = protect(origin, restore_ssh_command=sshd.command)
    with ours.receiving():
        ours.backup()
        origin.load(rows=3000)
        ours.catch_up()
    cluster, _ = restored(ours)
    sshd.stop()
    try:
        with pytest.raises(ServerError, match="has ended"):
            cluster.start()
    finally:
        sshd.start()
    assert os.path.exists(os.path.join(cluster.directory, "recovery.signal"))
    cluster.start()
    assert cluster.wait_for_recovery() == "ended"
    assert_same_rows(cluster, origin)


def test_a_staged_restore_starts_as_well(origin, protect, restored, cluster_directory):
    ours = protect(origin, recovery_options="no-get-wal")
    with ours.receiving():
        ours.backup()
        ours.catch_up()
    cluster, _ = restored(ours, "--staging-path", cluster_directory)
    assert_same_rows(recovered(cluster), origin)
    assert_in_their_places(cluster)


@pytest.mark.postgres(minimum=17)
def test_a_chain_is_put_together_here_and_sent(origin, protect, restored, cluster_directory):
    ours = protect(origin)
    with ours.receiving():
        ours.backup()
        for name in SPACES:
            origin.sql(f'INSERT INTO "{name} t" SELECT generate_series(1, 5000)')
            ours.backup("--incremental", "latest")
        origin.load(rows=1000)
        ours.catch_up()
    refused = restored(ours, code=2)[1].stderr
    assert "is incremental" in refused and "--staging-path" in refused
    cluster, _ = restored(ours, "--staging-path", cluster_directory)
    with ours.away():
        assert_same_rows(recovered(cluster), origin)
    assert_in_their_places(cluster)
    assert not [name for name in os.listdir(cluster_directory) if name.startswith("walstream-")]


def test_a_full_disk_there_is_told_and_leaves_nothing_that_starts(origin, protect, restored, sshd, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(disk)], check=False)
    if mounted.returncode:
        pytest.skip("no file system can be mounted here: a full disk is not tested")
    try:
        ours = protect(origin)
        with ours.receiving():
            ours.backup()
            ours.catch_up()
        words = ["--remote-ssh-command", sshd.command, "--owner", "0"]
        mapping = [w for name in SPACES for w in ("--tablespace", f"{name}:{tmp_path}/{name}")]
        said = ours.refusal("restore", "main", "auto", str(disk / "data"), *words, *mapping)
        assert "room for" in said and not (disk / "data").exists()
        # A df that lies stands for a disk that fills up meanwhile.
        lying = tmp_path / "lying"
        lying.mkdir()
        for name in os.listdir("/usr/bin"):
            if name != "df":
                os.symlink(f"/usr/bin/{name}", lying / name)
        (lying / "df").write_text("#!/bin/sh\necho Filesystem\necho /dev/x 9999999 0 9999999 0% /x\n")
        (lying / "df").chmod(0o755)
        words[1] = shlex.join(["env", "-i", f"PATH={lying}", "sh", "-c"])
        said = ours.refusal("restore", "main", "auto", str(disk / "data"), *words, *mapping)
        assert "No space left" in said and "make room there" in said
        assert not (disk / "data/global/pg_control").exists()
    finally:
        subprocess.run(["umount", str(disk)], check=True)
