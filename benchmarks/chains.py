"""A chain of backups from the scene's server, and the commands that restore it without walstream."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

from benchmarks.measure import run_program
from benchmarks.programs import configured
from benchmarks.scene import Scene

INCREMENTS = 3
_CHANGED = 0.001  # of all rows, which is about one block in sixteen
_NAME = "bench_chain"


def stored_chain(scene: Scene) -> Path:
    """A repository with a full zstd backup and incremental ones upon it; made once."""
    home = scene.memory / "chain"
    if not home.exists():
        words = [*configured(scene.conninfo, home, _NAME, "zstd"), "backup", "main", "--immediate-checkpoint"]
        scene.sql("ALTER SYSTEM SET summarize_wal = on", "SELECT pg_reload_conf()")
        run_program(words)
        for _ in range(INCREMENTS):
            scene.sql(f"UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE random() < {_CHANGED}")
            run_program([*words, "--incremental", "latest"])
        scene.sql("ALTER SYSTEM RESET summarize_wal", "SELECT pg_reload_conf()")
        scene.drop_slot(_NAME)
    return home / "main"


def combining(scene: Scene, stored: Path, place: Path) -> str:
    """Shell commands that unpack every backup of the chain below ``place``, and combine them in ``combined``."""
    lines = []
    inputs = []
    for record in sorted(stored.glob("base/*/record.json")):
        backup, into = record.parent, place / json.loads(record.read_text())["id"]
        inputs.append(shlex.quote(str(into)))
        lines += [
            f"mkdir -m 700 {into}",
            f"zstd -dc {backup}/base.tar.zst | tar -x -C {into}",
            f"zstd -dc {backup}/backup_manifest.zst >{into}/backup_manifest",
        ]
    lines.append(f"{scene.bin}/pg_combinebackup --no-sync -o {place}/combined {' '.join(inputs)}")
    return " && ".join(lines)
