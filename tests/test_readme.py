"""The ten lines of the README do what it says, on a real server; its commands exist."""

import os
import re

from support.clusters import assert_same_rows
from support.modules import ROOT

from walstream.cli.commands import COMMANDS

README = (ROOT / "README.md").read_text(encoding="utf-8")
(LINES,) = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
COMMAND_WORDS = {word for command in COMMANDS for word in (command.name, *command.aliases)}


def filled_in(**literals):
    """The ten lines with the given values in place of the README's."""
    code = LINES
    for literal, value in literals.items():
        (found,) = re.findall(rf'"[^"]*{literal}[^"]*"', code)
        code = code.replace(found, repr(value))
    return code


def test_the_library_takes_ten_lines():
    assert len(LINES.splitlines()) == 10


def test_the_ten_lines_restore_a_cluster(cluster_factory, cluster_directory, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))  # for the restore_command: the tests need no installation
    primary = cluster_factory()
    primary.load(1000)
    destination = os.path.join(cluster_directory, "restored")
    os.mkdir(destination)
    code = filled_in(host=primary.conninfo(), lib=str(tmp_path / "main"), srv=destination)
    exec(compile(code, "README.md", "exec"), {})
    assert capsys.readouterr().out.rstrip().endswith("True")
    restored = cluster_factory(start=False, directory=destination)
    restored.start(wait=False)
    assert restored.wait_for_recovery() == "ended"
    assert_same_rows(restored, primary)


def test_links_of_the_readme_lead_somewhere():
    targets = re.findall(r"\]\(([^)#:\s]+)\)", README)
    assert targets and [target for target in targets if not (ROOT / target).exists()] == []


def test_the_commands_of_the_quickstart_exist():
    (quickstart,) = re.findall(r"^## Quickstart$(.*?)^## ", README, re.MULTILINE | re.DOTALL)
    words = set(re.findall(r"^walstream ([\w-]+)", quickstart, re.MULTILINE))
    assert "restore" in words
    assert words <= COMMAND_WORDS
