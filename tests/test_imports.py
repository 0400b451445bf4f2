"""What importing us costs: offline work never loads psycopg, and get-wal's path loads next to nothing.

Each import runs in a fresh interpreter without ``site``, whose .pth files would load modules of their own.
"""

import json
import subprocess
import sys

import pytest
from support.filed_wal import name, new_repository, segment_bytes, store
from support.modules import MODULES, ROOT, is_below

# Everything in these packages, less ONLINE, must work on a machine without psycopg.
OFFLINE = (
    *("catalog", "backup", "walstream.settings", "walstream.api", "walstream.cli"),
    *("walstream.ops.stored", "walstream.ops.listing", "walstream.ops.details", "walstream.ops.restore"),
    *("walstream.ops.held_wal", "walstream.ops.receiver_facts", "walstream.ops.status_facts"),
    *("walstream.ops.left_branches", "walstream.ops.last_time", "walstream.ops.recovery_plan"),
    *("walstream.ops.figures", "walstream.ops.rewrap"),
    *("walstream.ops.supervise", "walstream.ops.rounds", "walstream.ops.stop"),
    "walstream.ops.switch_model",
)
ONLINE = (
    "backup.take",
    *(
        f"walstream.cli.{name}_cmd"
        for name in (
            "backup",
            "bench",
            "check",
            "demo",
            "init",
            "receive_wal",
            "replication_status",
            "switch_wal",
        )
    ),
    "walstream.cli.metrics_cmd",
    "walstream.cli.replication_text",
)

# The path of get-wal and wal-restore, run once per segment of a recovery.
LIGHT = (
    *(
        f"catalog.{name}"
        for name in (
            *("errors", "value", "lsn", "walname", "walpage", "timeline", "durable", "document", "layout"),
            *("codec", "decoding", "local_storage", "repository_identity", "wal"),
        )
    ),
    *("backup.fetch", "backup.lookahead"),
    *("walstream.cli", "walstream.cli.commands", "walstream.cli.light"),
    *("walstream.cli.get_wal_cmd", "walstream.cli.wal_restore_cmd"),
    *("walstream.settings.ini", "walstream.settings.locate"),
)
HEAVY = {"argparse", "configparser", "dataclasses", "enum", "logging", "pathlib", "psycopg", "re", "typing"}

IMPORTS = """
for module in given:
    __import__(module)
"""
RUNS = """
from walstream.cli import main
assert main(given) == 0
"""


def loaded_by(work, *given):
    """What a fresh interpreter has loaded after some work, beyond what it starts with."""
    script = f"""
import sys
paths, given = eval(sys.argv[1])
sys.path[:] = paths
before = set(sys.modules)
{work}
print(*sorted(set(sys.modules) - before), sep="\\n")
"""
    paths = [str(ROOT), *(path for path in sys.path if path)]
    argv = [sys.executable, "-I", "-S", "-c", script, json.dumps([paths, given])]
    done = subprocess.run(argv, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_offline_modules_leave_psycopg_unloaded():
    offline = [name for name in MODULES if any(is_below(name, prefix) for prefix in OFFLINE)]
    loaded = loaded_by(IMPORTS, *(name for name in offline if name not in ONLINE))
    assert "catalog.errors" in loaded
    assert [name for name in loaded if is_below(name, "psycopg")] == []


@pytest.mark.parametrize("module", LIGHT)
def test_modules_on_the_path_of_get_wal_load_nothing_heavy(module):
    assert loaded_by(IMPORTS, module) & HEAVY == set()


@pytest.mark.parametrize("codec", ["none", "zstd", "lz4", "gzip"])
@pytest.mark.parametrize("command", ["get-wal", "wal-restore"])
def test_a_delivered_segment_has_loaded_nothing_heavy(tmp_path, codec, command):
    repository = new_repository(tmp_path / "main")
    store(repository, {name(7): segment_bytes(7)}, codec)
    config = tmp_path / "walstream.conf"
    config.write_text(f"[walstream]\nwalstream_home = {tmp_path}\n[main]\nconninfo = host=x\n")
    output = str(tmp_path / "delivered")
    words = ["main", name(7), "-o", output] if command == "get-wal" else ["main", name(7), output]
    loaded = loaded_by(RUNS, "-c", str(config), command, *words)
    assert (tmp_path / "delivered").read_bytes() == segment_bytes(7)
    needed_by_the_libraries = {"enum"}
    assert loaded & (HEAVY | {"json"}) <= needed_by_the_libraries
    assert "hashlib" not in loaded and "threading" not in loaded
    assert not any(is_below(module, "cryptography") or is_below(module, "catalog.age") for module in loaded)
