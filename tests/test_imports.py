"""What importing us costs: offline work never loads psycopg, and get-wal's path loads next to nothing.

Each import runs in a fresh interpreter without ``site``, whose .pth files would load modules of their own.
"""

import json
import subprocess
import sys

import pytest
from support.modules import MODULES, ROOT, is_below

# Everything in these packages, less ONLINE, must work on a machine without psycopg.
OFFLINE = (
    *("catalog", "backup", "walstream.settings", "walstream.api", "walstream.cli"),
    *("walstream.ops.stored", "walstream.ops.listing", "walstream.ops.details", "walstream.ops.restore"),
)
ONLINE = (
    "backup.take",
    *(
        f"walstream.cli.{name}_cmd"
        for name in ("backup", "check", "demo", "init", "receive_wal", "switch_wal")
    ),
)

# The path of get-wal and wal-restore, run once per segment of a recovery.
LIGHT = (
    *(
        "catalog.errors",
        "catalog.lsn",
        "catalog.walname",
        "catalog.durable",
        "catalog.wal",
        "catalog.walpage",
    ),
    *("backup.fetch", "walstream.cli", "walstream.cli.get_wal_cmd", "walstream.cli.wal_restore_cmd"),
)
HEAVY = {"argparse", "configparser", "dataclasses", "enum", "logging", "pathlib", "psycopg", "re", "typing"}

SCRIPT = """
import sys
paths, modules = eval(sys.argv[1])
sys.path[:] = paths
before = set(sys.modules)
for module in modules:
    __import__(module)
print(*sorted(set(sys.modules) - before), sep="\\n")
"""


def loaded_by(*modules):
    """What a fresh interpreter has loaded after these imports, beyond what it starts with."""
    paths = [str(ROOT), *(path for path in sys.path if path)]
    argv = [sys.executable, "-I", "-S", "-c", SCRIPT, json.dumps([paths, modules])]
    done = subprocess.run(argv, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_offline_modules_leave_psycopg_unloaded():
    offline = [name for name in MODULES if any(is_below(name, prefix) for prefix in OFFLINE)]
    loaded = loaded_by(*(name for name in offline if name not in ONLINE))
    assert "catalog.errors" in loaded
    assert [name for name in loaded if is_below(name, "psycopg")] == []


@pytest.mark.parametrize("module", LIGHT)
def test_modules_on_the_path_of_get_wal_load_nothing_heavy(module):
    assert loaded_by(module) & HEAVY == set()
