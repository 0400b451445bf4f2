"""The documentation names everything a user can type or meet: commands, options, errors."""

import importlib
import inspect
import re
import runpy
import shutil
import subprocess
import sys

import pytest
from support.modules import MODULES, ROOT

from catalog import errors

PAGES = {path: path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs").rglob("*.md"))}
GENERATED = runpy.run_path(str(ROOT / "docs" / "generate.py"))["pages"]()
CLASSES = [name for name, value in vars(errors).items() if inspect.isclass(value)]


def table(module, name):
    """The names of a table of the code; none as long as there is no such module."""
    return list(getattr(importlib.import_module(module), name)) if module in MODULES else []


def is_somewhere(pattern):
    return any(re.search(pattern, text) for text in PAGES.values())


@pytest.mark.parametrize("command", table("walstream.cli.commands", "COMMANDS"), ids=lambda each: each.name)
def test_every_command_is_documented(command):
    assert is_somewhere(rf"`{command.name}\b|walstream {command.name}(?![\w-])")


@pytest.mark.parametrize("option", table("walstream.settings.options", "OPTIONS"))
def test_every_option_is_documented(option):
    assert is_somewhere(rf"`{option}\b")


@pytest.mark.parametrize("name", CLASSES)
def test_every_error_has_its_remedy(name):
    page = PAGES[ROOT / "docs" / "errors.md"]
    (section,) = re.findall(rf"^#+ `{name}`\n(.*?)(?=^#|\Z)", page, re.MULTILINE | re.DOTALL)
    assert len(section.split()) >= 10


def test_the_page_of_errors_names_no_error_that_does_not_exist():
    page = PAGES[ROOT / "docs" / "errors.md"]
    assert set(re.findall(r"^#+ `(\w+)`", page, re.MULTILINE)) == set(CLASSES)


@pytest.mark.parametrize("name", CLASSES)
def test_the_drawing_of_the_tree_shows_every_error(name):
    assert re.search(rf"\b{name}\b", errors.__doc__)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(path):
    targets = re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", PAGES[path])
    assert [target for target in targets if not (path.parent / target).exists()] == []


@pytest.mark.parametrize("name", GENERATED)
def test_a_generated_page_is_what_would_be_generated_now(name):
    assert (ROOT / "docs" / name).read_text(encoding="utf-8") == GENERATED[name], (
        "run: python docs/generate.py"
    )


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")
def test_the_unit_of_the_recipe_is_one_that_systemd_accepts(tmp_path):
    page = PAGES[ROOT / "docs" / "recipes" / "running.md"]
    (unit,) = re.findall(r"```ini\n(\[Unit\].*?)```", page, re.DOTALL)
    file = tmp_path / "walstream.service"
    file.write_text(unit.replace("/opt/walstream/bin/walstream", sys.executable))
    done = subprocess.run(["systemd-analyze", "verify", str(file)], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
