"""A cluster under walstream's protection, as an operator has it: a configuration file, commands as processes.

The directories have names that need quoting everywhere. What is received, held and restored is looked at
from outside: the server's views, files, PostgreSQL's own tools.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from support import forked
from support.clusters import Cluster, pg_tool

from catalog.lsn import LSN, SegmentSize
from catalog.walname import Segment
from walstream.ops import unprivileged

ROOT = str(Path(__file__).parents[2])
RECEIVER = "walstream_receive_wal"
_DECOMPRESS = {
    "": ["cat"],
    ".zst": ["zstd", "-dcq"],
    ".lz4": ["lz4", "-dcq"],
    ".gz": ["gzip", "-dc"],
}

Process = subprocess.Popen[bytes] | forked.Popen


class Protection:
    """One configuration file in ``place`` with a section per server, each for the same cluster."""

    def __init__(
        self, place: str, cluster: Cluster, servers: dict[str, dict[str, str]] | None = None
    ) -> None:
        self.place = Path(place)
        self.cluster = cluster
        self.config = str(self.place / "walstream.conf")
        self._root = self.place / 'it\'s 100% %p "home"'
        self.configure(servers or {"main": {}})

    def configure(self, servers: dict[str, dict[str, str]]) -> None:
        """Write the configuration file anew."""
        lines = ["[walstream]", f"walstream_home = {self._root}", "immediate_checkpoint = on"]
        for name, options in servers.items():
            own = {"conninfo": self.cluster.conninfo(), "slot_name": name.replace("-", "_")}
            own |= {"flush_interval": "50ms"} | options
            lines += [f"[{name}]", *(f"{option} = {value}" for option, value in own.items() if value)]
        Path(self.config).write_text("\n".join([*lines, ""]))

    def home(self, name: str = "main") -> Path:
        """A server's directory: repository and local state in one."""
        return self._root / name

    # commands

    def run(self, *words: str, code: int | None = 0) -> subprocess.CompletedProcess[str]:
        """Run a command to its end; it must exit with ``code``, unless that is None."""
        done = forked.run(["-c", self.config, *words], environment(), timeout=120)
        assert code in (done.returncode, None), (
            f"exit code {done.returncode} of {words}:\n{done.stdout}{done.stderr}"
        )
        assert "Traceback" not in done.stderr, done.stderr
        return done

    def facts(self, *words: str, name: str = "main") -> dict[str, Any]:
        """What a command says about one server as JSON."""
        return json.loads(self.run("-f", "json", *words).stdout)[name]

    def refusal(self, *words: str, code: int = 1) -> str:
        """Run a command that must be refused in the project's manner; what it said."""
        return self.one_error(self.run(*words, code=code).stderr)

    def one_error(self, said: str) -> str:
        """What was said, if it is one error with one hint, and no more than that."""
        lines = [line for line in said.splitlines() if not line.startswith("warning: ")]
        said = "\n".join(lines)
        kinds = [line.partition(":")[0] for line in said.replace("walstream: ", "").strip().splitlines()]
        assert kinds == ["error", "hint"], f"not one error and one hint: {said}"
        return said

    def backup(self, *words: str, name: str = "main") -> str:
        """Take a backup; its id."""
        return str(self.facts("backup", name, *words, name=name)["backup_id"])

    def start(self, *words: str, dies_at: int | None = None) -> Process:
        """Start a command in the background; what it says goes to the file ``log``.

        ``dies_at``: it kills itself before the call of that number that changes a file.
        """
        words = ("-c", self.config, *words)
        with open(self.log, "ab") as log:
            if dies_at is None:
                return forked.Popen(words, log, log, environment())
            path = f"{ROOT}/tests/support/killing{os.pathsep}{ROOT}"
            extra = {"PYTHONPATH": path, "WALSTREAM_TEST_DIES_AT": str(dies_at)}
            command = [sys.executable, "-P", "-m", "walstream", *words]
            return subprocess.Popen(command, stdout=log, stderr=log, env=environment() | extra)

    @property
    def log(self) -> Path:
        return self.place / "walstream.log"

    @contextlib.contextmanager
    def receiving(self, name: str = "main", *words: str) -> Iterator[Process]:
        """A receiver that streams when the block begins, and is stopped in order at its end."""
        process = self.start("receive-wal", name, *words)
        try:
            self.wait_for_stream(process, name)
            yield process
        finally:
            stop(process)

    def wait_for_stream(self, process: Process, name: str = "main") -> None:
        """Wait until the receiver streams and has published that."""
        published = self.home(name) / "state" / "receiver.json"

        def streams() -> bool:
            assert process.poll() is None, f"the receiver ended: {self.log.read_text()}"
            with contextlib.suppress(OSError, ValueError):
                state = json.loads(published.read_text())
                return bool(state["pid"] == process.pid and state["phase"] == "streaming")
            return False

        wait_until(streams)

    # what there is

    def acknowledged(self, name: str = "main") -> LSN:
        """The position up to which the server was told that WAL is safe; 0/0 while there is no receiver."""
        found = self.cluster.sql(
            "SELECT flush_lsn::text FROM pg_stat_replication r JOIN pg_replication_slots s "
            "ON s.active_pid = r.pid WHERE s.slot_name = %s",
            name.replace("-", "_"),
        )
        return LSN.parse((found[0][0] if found else None) or "0/0")

    def catch_up(self, name: str = "main") -> LSN:
        """Wait until all WAL that the server has now is acknowledged; its position."""
        self.cluster.sql("CHECKPOINT")  # without a commit the last records may not be written yet
        position = LSN.parse(self.cluster.one("SELECT pg_current_wal_flush_lsn()::text"))
        wait_until(lambda: self.acknowledged(name) >= position)
        return position

    def streams(self, name: str = "main") -> bool:
        """Whether the server has a receiver on that slot."""
        return self.walsender(name) is not None

    def walsender(self, name: str = "main") -> int | None:
        """The process of the server that serves the receiver on that slot, if there is one."""
        found = self.cluster.sql(
            "SELECT active_pid FROM pg_replication_slots WHERE slot_name = %s", name.replace("-", "_")
        )
        return found[0][0] if found else None

    def stored(self, name: str = "main") -> dict[str, Path]:
        """The WAL files in the repository, by name without suffix."""
        found = {}
        for path in (self.home(name) / "wals").rglob("*"):
            if path.is_file() and ".walstream-tmp." not in path.name:
                stem = path.name
                for suffix in (".zst", ".lz4", ".gz"):
                    stem = stem.removesuffix(suffix)
                found[stem] = path
        return found

    def spooled(self, name: str = "main") -> dict[str, Path]:
        """The files in the spool, by name; ``.partial`` ones too."""
        files = (self.home(name) / "streaming").iterdir()
        return {path.name: path for path in files if ".walstream-tmp." not in path.name}

    def held(self, segment: str, name: str = "main") -> bytes | None:
        """The bytes of a segment, wherever the repository or the spool has them, by the stock tools."""
        spool = self.home(name) / "streaming"
        complete, partial = spool / segment, spool / f"{segment}.partial"

        def stored() -> Path | None:
            return self.stored(name).get(segment)

        # It may be on its way: looked for in the order of that, it cannot slip by.
        for look in (lambda: complete, stored, lambda: partial, lambda: complete, stored):
            with contextlib.suppress(FileNotFoundError):
                path = look()
                if path is not None and path.exists():
                    return decompressed(path)
        return None

    def listing(self) -> dict[str, int]:
        """Every file below the home with its size, less state and locks: what a refusal must not change."""
        return listing(self._root, leave_out=("state", "lock"))

    def restore(self, destination: Path, *words: str, server: str | None = None) -> dict[str, Any]:
        """Restore into a directory that is made here, by the repository's path unless a server is named."""
        destination.mkdir(mode=0o700, exist_ok=True)
        name = server or str(self.home())
        found = self.facts("restore", name, *words, name=os.path.basename(name))
        unprivileged.way().give(str(self.place))
        return found

    @contextlib.contextmanager
    def away(self, name: str = "main") -> Iterator[None]:
        """In the block a server's directory is somewhere else: nothing can be fetched from it."""
        home = self.home(name)
        elsewhere = home.with_name(f"{name} is away")
        home.rename(elsewhere)
        try:
            yield
        finally:
            elsewhere.rename(home)


def environment() -> dict[str, str]:
    """For our processes: this tree's modules, and nothing of the caller's configuration."""
    return {**os.environ, "PYTHONPATH": ROOT, "PYTHONDONTWRITEBYTECODE": "1", "TZ": "UTC"}


def wait_until(condition: Callable[[], bool], timeout: float = 30.0) -> None:
    """Wait until the condition holds."""
    limit = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < limit, f"did not come true within {timeout} seconds"
        time.sleep(0.02)


def stop(process: Process, signum: int = signal.SIGTERM, timeout: float = 30) -> int:
    """Signal a process, unless it has ended, and wait for it; its exit code."""
    if process.poll() is None:
        process.send_signal(signum)
    try:
        return process.wait(timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise


def listing(directory: Path, leave_out: tuple[str, ...] = ()) -> dict[str, int]:
    """Every file below a directory with its size; one that vanishes meanwhile is left out."""
    found = {}
    for path in sorted(directory.rglob("*")):
        relative = path.relative_to(directory)
        with contextlib.suppress(FileNotFoundError):
            if path.is_file() and not set(leave_out) & set(relative.parts):
                found[str(relative)] = path.stat().st_size
    return found


def decompressed(path: Path) -> bytes:
    """The content of a stored file, by the stock tool of its suffix."""
    command = _DECOMPRESS[path.suffix if path.suffix in _DECOMPRESS else ""]
    if not shutil.which(command[0]):
        raise AssertionError(f"{command[0]} is not installed")
    try:
        return subprocess.run([*command, str(path)], capture_output=True, check=True).stdout
    except subprocess.CalledProcessError:
        if not path.exists():
            raise FileNotFoundError(path) from None
        raise


def last_acknowledged(ours: Protection, server: str = "main") -> LSN:
    """What the receiver's last report said, whatever became of it: the slot's position.

    A receiver that begins again reports the start of its segment first, so it may be less than before.
    """
    slot = "SELECT restart_lsn::text FROM pg_replication_slots WHERE slot_name = %s"
    return LSN.parse(ours.cluster.one(slot, server.replace("-", "_")))


def assert_same_wal(
    ours: Protection,
    position: LSN | None = None,
    first: int | None = None,
    *,
    timeline: int = 1,
    server: str = "main",
    size: SegmentSize | None = None,
) -> None:
    """All WAL up to ``position``, or what was acknowledged, is held, byte for byte what the cluster has.

    From segment number ``first`` on, or from the oldest of that timeline that is held. A cluster that does not
    run cannot be asked for position and ``size``.
    """
    cluster, size = ours.cluster, size or segment_size(ours.cluster)
    position = position or last_acknowledged(ours, server)
    if first is None:
        files = (*ours.stored(server), *ours.spooled(server))
        segments = [Segment.parse(file[:24], size) for file in files if not file.endswith(".history")]
        first = min(segment.number for segment in segments if segment.timeline == timeline)
    compared = 0
    for number in range(first, size.number_before(position) + 1):
        name = Segment(timeline, number).name(size)
        end = min(size.nbytes, position - size.start(number))
        held = ours.held(name, server)
        assert held is not None, f"{name} is lost; {position} was acknowledged"
        assert len(held) == size.nbytes
        with contextlib.suppress(FileNotFoundError):  # the server keeps old segments only if told to
            written = Path(cluster.directory, "pg_wal", name).read_bytes()
            assert held[:end] == written[:end], f"{name} differs before {position}"
            compared += 1
    assert compared


def verified_by_postgres(cluster: Cluster) -> None:
    """``pg_verifybackup`` accepts a data directory, with its tablespaces and without its WAL."""
    tool = pg_tool(cluster.version, "pg_verifybackup")
    if tool is not None:
        done = subprocess.run([tool, "-n", cluster.directory], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def timeline_of(cluster: Cluster) -> int:
    """The timeline that a cluster writes."""
    return int(cluster.one("SELECT pg_walfile_name(pg_current_wal_insert_lsn())")[:8], 16)


def segment_size(cluster: Cluster) -> SegmentSize:
    """The size of a cluster's segments."""
    return SegmentSize.parse(cluster.one("SHOW wal_segment_size"))
