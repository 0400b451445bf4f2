"""``walstream.api`` is exactly what it says it is: sorted, documented, typed, and cheap to import."""

import ast
import importlib
import inspect
import re
import subprocess
import sys

import pytest
from support.modules import ROOT, imports_of

from catalog import errors
from walstream import api

SOURCE = ROOT / "walstream" / "api.py"
PAGE = (ROOT / "docs" / "library.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def loaded_after(code):
    """The modules that a fresh interpreter has loaded after running ``code``."""
    code = f"import sys\nsys.path[:] = {[str(ROOT), *sys.path]!r}\n{code}\nprint(*sys.modules)"
    return set(subprocess.check_output([sys.executable, "-I", "-S", "-c", code], text=True).split())


def typed_names():
    """What type checkers see: the names imported in the TYPE_CHECKING block."""
    (block,) = (node for node in ast.parse(SOURCE.read_text()).body if isinstance(node, ast.If))
    return [alias.asname or alias.name for node in block.body for alias in node.names]


def test_names_are_listed_once_constants_before_classes_before_functions():
    assert api.__all__ == sorted(api.__all__, key=lambda name: (not name.isupper(), name[0].islower(), name))
    assert len(set(api.__all__)) == len(api.__all__)


def test_what_is_listed_is_what_there_is_for_programs_and_for_type_checkers():
    assert set(dir(api)) == set(api.__all__) == set(typed_names()) == set(api._HOMES)


@pytest.mark.parametrize("name", api.__all__)
def test_a_name_leads_to_the_thing_of_that_name_where_it_is_defined(name):
    found = getattr(api, name)
    assert found.__name__ == name
    assert found.__module__ == api._HOMES[name]
    assert found is getattr(importlib.import_module(found.__module__), name)


@pytest.mark.parametrize("name", api.__all__)
def test_a_name_is_explained_where_it_is_defined_and_in_the_documentation(name):
    assert inspect.getdoc(getattr(api, name))
    assert re.search(rf"`{name}\b", PAGE)


def test_every_error_can_be_caught_by_its_public_name():
    classes = {name for name, value in vars(errors).items() if inspect.isclass(value)}
    assert classes <= set(api.__all__)


def test_another_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = api.nonsense


def test_type_checkers_and_programs_find_a_name_in_the_same_module():
    typed = {found.imported for found in imports_of("walstream.api", SOURCE) if found.typing_only}
    assert typed == set(api._HOMES.values())


def test_importing_the_api_loads_none_of_what_it_names():
    assert {name for name in loaded_after("import walstream.api") if name in api._HOMES.values()} == set()


def test_what_works_offline_is_had_without_psycopg():
    offline = "LSN RecoveryTarget Repository list_backups open_repository open_wal plan_restore restore"
    loaded = loaded_after(f"from walstream.api import {', '.join(offline.split())}, WalstreamError")
    assert "catalog.repository" in loaded
    assert [name for name in loaded if name.split(".")[0].startswith("psycopg")] == []


@pytest.mark.parametrize("code", EXAMPLES)
def test_an_example_of_the_documentation_uses_public_names_only(code):
    imported = [
        alias.name
        for node in ast.walk(ast.parse(code))
        if isinstance(node, ast.ImportFrom) and node.module.startswith("walstream")
        for alias in node.names
    ]
    assert set(imported) <= set(api.__all__)
