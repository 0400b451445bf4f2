"""Commands that tests fork (``support.forked``) are no others than those that a shell starts."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support import forked
from support.metrics import answer_of, free_port
from support.protection import environment, stop, wait_until


@pytest.mark.parametrize(
    "words",
    [["--version"], ["backup", "--help"], ["nonsense"], ["list-servers"], ["get-wal", "main"]],
    ids=lambda words: words[0],
)
def test_they_say_and_answer_the_same(words, tmp_path):
    words = ["-c", str(tmp_path / "none"), *words]
    started = [sys.executable, "-P", "-m", "walstream", *words]
    theirs = subprocess.run(started, capture_output=True, text=True, env=environment())
    ours = forked.run(words, environment(), timeout=30)
    assert (ours.returncode, ours.stdout, ours.stderr) == (theirs.returncode, theirs.stdout, theirs.stderr)
    assert ours.stdout + ours.stderr


@pytest.mark.parametrize(
    ("signum", "code"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGTERM, 0), (signal.SIGINT, 0)]
)
def test_they_are_processes_that_signals_end(signum, code, tmp_path):
    config, port = tmp_path / "walstream.conf", free_port()
    config.write_text(f"[walstream]\nwalstream_home = {tmp_path}/home\n")
    words = ["-c", str(config), "metrics", "--listen", f"127.0.0.1:{port}"]
    with open(tmp_path / "log", "wb") as log:
        process = forked.Popen(words, log, log, environment())
    wait_until(lambda: process.poll() is not None or answer_of(port, "/healthz")[0])
    assert process.poll() is None and process.pid != os.getpid(), Path(log.name).read_text()
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0)
    assert stop(process, signum) == process.returncode == code
