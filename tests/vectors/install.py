"""The public test vectors of the age format, from npm. Run by ``make test``, as ``tests/servers/install.py`` is.

Installs the lock into ``node_modules`` beside this file: a quarter of a megabyte, none of which is run. Without
npm the tests say so and are skipped.
"""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
LOCK = HERE / "package-lock.json"
STAMP = HERE / "node_modules" / ".installed-from"


def main() -> None:
    digest = hashlib.sha256(LOCK.read_bytes()).hexdigest()
    if STAMP.exists() and STAMP.read_text() == digest:
        return
    if shutil.which("npm") is None:
        print("!!! no test vectors of the age format: there is no npm !!!", file=sys.stderr)
    elif (code := subprocess.run(["npm", "ci", "--ignore-scripts"], cwd=HERE, check=False).returncode) != 0:
        print(f"!!! no test vectors of the age format: npm ci failed with code {code} !!!", file=sys.stderr)
    else:
        STAMP.write_text(digest)


if __name__ == "__main__":
    main()
