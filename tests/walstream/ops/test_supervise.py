"""A supervisor as a process, of servers that cannot be reached: what it says, and how it ends."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from support.configurations import write
from support.metrics import answer_of, free_port, samples_of
from support.protection import environment, stop, wait_until

UNREACHABLE = "conninfo = host=/nowhere user=nobody\n"


@pytest.fixture
def start(tmp_path):
    """Start ``walstream run`` for a configuration; it logs to the file ``log``."""
    started = []

    def start(text, *before):
        config = write(tmp_path, f"[walstream]\nwalstream_home = {tmp_path}/home\n{text}")
        level = ["--log-level", "DEBUG"]
        words = [*before, sys.executable, "-P", "-m", "walstream", "-c", config, *level, "run"]
        with open(tmp_path / "log", "ab") as log:
            started.append(subprocess.Popen(words, stdout=log, stderr=log, env=environment()))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def said(tmp_path):
    return (tmp_path / "log").read_text()


def test_each_receiver_that_fails_is_said_with_its_reason_and_tried_again_later(start, tmp_path):
    process = start(f"[one]\n{UNREACHABLE}[two]\n{UNREACHABLE}backup_schedule = 0 0 1 1 *\n")
    for name in ("one", "two"):
        wait_until(
            lambda name=name: said(tmp_path).count(f"{name}: debug: receiver ended: exit code 1: ") >= 1
        )
        (line,) = [line for line in said(tmp_path).splitlines() if f"{name}: error: " in line]
        assert "/nowhere" in line and "the next one starts in" in line
    assert "walstream: error" not in said(tmp_path) and "hint: " not in said(tmp_path)
    assert stop(process) == 0
    assert {*os.listdir(tmp_path / "home")} <= {".run.lock", ".rounds"}


def test_wrong_sections_are_said_a_line_for_each_error_with_its_hint_and_what_follows(start, tmp_path):
    process = start(f"[one]\n{UNREACHABLE}[two]\n{UNREACHABLE}compression = magic\nnonsense = 1\n")
    wait_until(lambda: "two: error: nothing is received from it" in said(tmp_path))
    wrong = [line for line in said(tmp_path).splitlines() if " two: error: " in line]
    assert len(wrong) == 3 and "magic" in wrong[0] and wrong[0].endswith(")") and "nonsense" in wrong[1]
    write(
        tmp_path, f"[walstream]\nwalstream_home = {tmp_path}/home\n[one]\n{UNREACHABLE}compression = magic\n"
    )
    process.send_signal(signal.SIGHUP)
    wait_until(lambda: "one: error: its former settings stay in force" in said(tmp_path))
    assert stop(process) == 0


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_in_order_without_any_server(start, tmp_path, signum):
    process = start("")
    wait_until(lambda: (tmp_path / "home" / ".run.lock").exists())
    assert stop(process, signum) == 0
    assert "all receivers have ended" in said(tmp_path)


def test_a_wrong_global_section_is_refused(start, tmp_path):
    process = start(f"log_level = deafening\n[one]\n{UNREACHABLE}")
    assert process.wait(30) == 2
    assert "deafening" in said(tmp_path)
    assert not (tmp_path / "home").exists()


def test_receivers_log_to_the_log_file_and_name_their_server(start, tmp_path):
    process = start(f"log_file = {tmp_path}/file\n[one]\n{UNREACHABLE}")
    wait_until(lambda: (tmp_path / "file").exists() and "one: " in (tmp_path / "file").read_text())
    assert stop(process) == 0


def test_the_first_process_of_a_container_buries_orphans(start, tmp_path):
    ways = ["unshare", "--pid", "--fork", "--mount-proc"]
    if subprocess.run([*ways, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this user may not make a namespace of processes")
    container = start("", *ways, "--kill-child", "sh", "-c", 'sleep 0.1 & exec "$@"', "sh")
    wait_until(lambda: (tmp_path / "home" / ".run.lock").exists())
    (first,) = children(container.pid)
    wait_until(lambda: children(first) == [])
    os.kill(first, signal.SIGTERM)
    assert container.wait(30) == 0


def children(pid):
    """The children of a process, those that have ended and were not buried included."""
    return list(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


def serving(port):
    return answer_of(port, "/metrics")[0] == 200


def test_metrics_are_served_come_back_when_they_are_killed_and_end_with_the_supervisor(start, tmp_path):
    port = free_port()
    process = start(f"metrics_listen = 127.0.0.1:{port}\n[one]\n{UNREACHABLE}active = off\n")
    for _ in range(2):
        wait_until(lambda: serving(port))
        assert samples_of(answer_of(port, "/metrics")[1])["walstream_server_active", "one"] == 0
        assert answer_of(port, "/healthz") == (200, "ok\n")
        (child,) = children(process.pid)
        os.kill(child, signal.SIGKILL)
        wait_until(lambda child=child: child not in children(process.pid))
    wait_until(lambda: serving(port))
    assert said(tmp_path).count("no metrics: killed by SIGKILL; tried again by itself") == 1
    assert stop(process) == 0
    assert not serving(port)


def test_metrics_end_with_a_supervisor_that_is_killed(start):
    port = free_port()
    process = start(f"metrics_listen = localhost:{port}\n")
    wait_until(lambda: serving(port))
    process.kill()
    process.wait()
    wait_until(lambda: not serving(port))


def test_metrics_move_begin_and_end_with_the_configuration(start, tmp_path):
    first, second = free_port(), free_port()
    process = start("")
    wait_until(lambda: (tmp_path / "home" / ".run.lock").exists())
    for wanted, other in ((first, second), (second, first), (None, second)):
        line = f"metrics_listen = 127.0.0.1:{wanted}\n" if wanted else ""
        write(tmp_path, f"[walstream]\nwalstream_home = {tmp_path}/home\n{line}")
        process.send_signal(signal.SIGHUP)
        wait_until(lambda wanted=wanted: wanted is None or serving(wanted))
        wait_until(lambda other=other: not serving(other))
    assert stop(process) == 0
    assert "no metrics" not in said(tmp_path)


def test_a_taken_address_is_said_disturbs_no_receiver_and_is_used_when_it_is_free(start, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = start(f"metrics_listen = 127.0.0.1:{port}\n[one]\n{UNREACHABLE}")
        wait_until(lambda: f"cannot listen on 127.0.0.1:{port}: " in said(tmp_path))
        wait_until(lambda: said(tmp_path).count(": receiver ended: exit code 1") >= 2)
    wait_until(lambda: serving(port))
    assert stop(process) == 0
    assert "no metrics" not in said(tmp_path)
