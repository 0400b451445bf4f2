"""A password in the configuration reaches no log, no error, no JSON, no process list and no file of ours."""

import contextlib
import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.protection import environment, stop, wait_until

from catalog.state import receiver_holder

PASSWORD = "Never2BeSeen"
LINUX = pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs /proc")


def uri(cluster):
    """The same server as a URI with a password."""
    directory = str(cluster.socket_directory).replace("/", "%2F")
    return f"postgresql://postgres:{PASSWORD}@/postgres?host={directory}&port={cluster.port}"


@pytest.fixture
def ours(cluster_factory, protect):
    cluster = cluster_factory(segment_megabytes=1)
    made = protect(cluster)
    secret = f"{cluster.conninfo()} password={PASSWORD}"
    made.configure(
        {
            "main": {"conninfo": secret, "primary_conninfo": secret, "streaming_conninfo": uri(cluster)},
            "away": {"conninfo": f"host=/nowhere password='{PASSWORD}'", "check_timeout": "5s"},
            "broken": {"conninfo": f"host=a password='{PASSWORD}"},
            "wrong": {"conninfo": f"{PASSWORD}", "wal_conninfo": f"host=b password={PASSWORD}"},
        }
    )
    with open(made.config, "a") as file:
        file.write(f"[main:uri]\nmodel = true\ncluster = main\nconninfo = {uri(cluster)}\n")
        file.write(f"streaming_conninfo = {secret}\n")
    return made


def arguments_of_processes():
    """The command lines and environments of all processes of this user that are walstream's."""
    found = b""
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            command = place.joinpath("cmdline").read_bytes()
            if b"walstream" in command and int(place.name) != os.getpid():
                found += command + place.joinpath("environ").read_bytes()
    return found


@LINUX
@pytest.mark.postgres(versions=[18])
def test_a_password_is_never_seen(ours, cluster_directory):
    said = []
    walstream = [sys.executable, "-P", "-m", "walstream", "-c", ours.config]

    def run(*words):
        words = [*walstream, "-d", *words]
        done = subprocess.run(words, capture_output=True, text=True, env=environment(), timeout=120)
        said.append(done.stdout + done.stderr)
        return done.returncode

    with open(ours.log, "ab") as log:
        words = [*walstream, "run", "--log-level", "DEBUG"]
        supervisor = subprocess.Popen(words, stdout=log, stderr=log, env=environment())
    try:
        wait_until(ours.streams)
        assert run("backup", "main") == 0
        for command in ("check", "show-servers"):
            run(command, "all"), run(command, "all", "-f", "json")
        run("status", "all", "-f", "json"), run("replication-status", "main"), run("switch-wal", "main")
        for server in ("away", "broken", "wrong"):
            assert run("receive-wal", server)
        assert run("backup", "away") and run("switch-wal", "broken")
        assert run("config-switch", "main", "main:uri") == 0
        assert run("list-servers") == 2
        assert run("show-servers", "main") == 0
        run("cron"), run("expire", "main", "--dry-run")
        run("init", "main", f"host=other password={PASSWORD}")
        wait_until(lambda: "going on with new settings" in ours.log.read_text())
        wait_until(ours.streams)
        listed = arguments_of_processes()
        assert b"receive-wal" in listed
    finally:
        stop(supervisor, timeout=60)
    restored = os.path.join(cluster_directory, "restored")
    ours.restore(Path(restored), "auto", restored)
    assert run("restore", "main", "auto", restored) == 1  # the second time it is there
    if found := receiver_holder(str(ours.home())):  # cron has started it
        os.kill(found[1], signal.SIGKILL)

    secret = PASSWORD.encode()
    files = [path for path in ours.place.rglob("*") if path.is_file() and str(path) != ours.config]
    files += [path for path in Path(restored).rglob("*") if path.is_file()]
    assert any(path.name == "receiver.json" for path in files) and ours.log in files
    assert [path for path in files if secret in path.read_bytes()] == []
    assert secret not in listed
    assert [text for text in said if PASSWORD in text] == []
    assert sum("*****" in text for text in said) == 4  # where it stands, it is masked


@pytest.mark.postgres(versions=[18])
def test_init_takes_a_connection_string_that_is_not_in_its_arguments(commands, server, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{server.conninfo()} password={PASSWORD}\n"))
    done = commands.init("-")
    assert done.code == 0 and PASSWORD not in done.out + done.err
    assert "passfile" in done.err
    assert Path(commands.file).stat().st_mode & 0o777 == 0o600
