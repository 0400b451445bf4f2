"""An ssh server of the test's own on loopback: throwaway keys, a port of its own, nothing of the caller's."""

from __future__ import annotations

import getpass
import os
import shlex
import shutil
import signal
import socket
import subprocess
from pathlib import Path

from support.protection import ROOT, wait_until

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
NO_SSHD = "!!! NO sshd HERE: RESTORES TO ANOTHER MACHINE ARE NOT TESTED (apt-get install openssh-server) !!!"


class Sshd:
    """A running server; ``command`` leads to it, as the current user."""

    def __init__(self, place: Path, path: str | None = None) -> None:
        place.mkdir(mode=0o700)
        self._place = place
        for name in ("host", "user"):
            subprocess.run(
                ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(place / name)], check=True
            )
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self._write_config(path)
        public = (place / "host.pub").read_text().split()
        (place / "known_hosts").write_text(f"[127.0.0.1]:{self.port} {public[0]} {public[1]}\n")
        self.start()

    def _write_config(self, path: str | None) -> None:
        place = self._place
        # Of a bash that is not the first shell ~/.bashrc is not read.
        variables = {"PYTHONPATH": ROOT, "SHLVL": "1", **({"PATH": path} if path else {})}
        (place / "sshd_config").write_text(
            f"""
            Port {self.port}
            ListenAddress 127.0.0.1
            HostKey {place}/host
            AuthorizedKeysFile {place}/user.pub
            PidFile {place}/sshd.pid
            StrictModes no
            UsePAM no
            PasswordAuthentication no
            PermitRootLogin prohibit-password
            MaxStartups 100
            SetEnv {" ".join(f"{name}={value}" for name, value in variables.items())}
            """
        )

    @property
    def words(self) -> list[str]:
        options = {
            "UserKnownHostsFile": self._place / "known_hosts",
            "IdentitiesOnly": "yes",
            "BatchMode": "yes",
            "LogLevel": "ERROR",
        }
        said = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
        login = f"{getpass.getuser()}@127.0.0.1"
        return ["ssh", "-F", "none", "-i", str(self._place / "user"), "-p", str(self.port), *said, login]

    @property
    def command(self) -> str:
        return shlex.join(self.words)

    def start(self) -> None:
        if os.geteuid() == 0:
            os.makedirs("/run/sshd", mode=0o755, exist_ok=True)  # it refuses to start without
        assert SSHD is not None
        with open(self._place / "log", "ab") as log:
            self._process = subprocess.Popen(
                [SSHD, "-D", "-e", "-f", str(self._place / "sshd_config")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait_until(self._answers)

    def _answers(self) -> bool:
        assert self._process.poll() is None, (self._place / "log").read_text()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def connections(self) -> list[int]:
        """The processes that serve a connection."""
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text()
        return [int(pid) for pid in children.split()]

    def cut(self) -> None:
        """Kill whatever serves a connection: as if the network broke."""
        for pid in self.connections():
            os.kill(pid, signal.SIGKILL)

    def stop(self) -> None:
        if self._process.poll() is None:
            self._process.terminate()
            self._process.wait(30)
