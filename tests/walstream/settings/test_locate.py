import subprocess
import sys

import pytest
from support.configurations import MAIN, write

from catalog.errors import ConfigurationError
from walstream.settings.locate import find_file, places


def test_a_server_has_a_directory_of_its_name_in_repository_and_home(tmp_path):
    file = write(tmp_path, MAIN + "    repository = /mnt/store\n")
    found, warnings = places("main", file)
    assert (found.repository, found.home) == ("/mnt/store/main", "/srv/walstream/main")
    assert (found.source_file, warnings) == (file, [])


def test_the_repository_is_in_the_home_unless_said_otherwise(tmp_path):
    found, _ = places("main", write(tmp_path, MAIN))
    assert found.repository == found.home == "/srv/walstream/main"


def test_a_server_given_as_a_path_needs_no_configuration(tmp_path):
    found, warnings = places(f"{tmp_path}/store/main/", "/nonexistent")
    assert (found.name, found.repository, found.home) == (
        "main",
        f"{tmp_path}/store/main",
        f"{tmp_path}/store/main",
    )
    assert (found.source_file, warnings) == ("", [])


def test_a_slip_elsewhere_is_a_warning(tmp_path):
    found, warnings = places("main", write(tmp_path, MAIN + "[other]\nnonsense\nconninfo = a\n  b\n[x\n"))
    assert found.repository == "/srv/walstream/main"
    assert len(warnings) == 3


def test_a_repository_set_to_two_paths_is_not_guessed(tmp_path):
    file = write(tmp_path, MAIN + "    repository = /a\n    repository = /b\n")
    with pytest.raises(ConfigurationError, match="already set"):
        places("main", file)


def test_an_unknown_server_is_refused_with_the_nearest_name(tmp_path):
    with pytest.raises(ConfigurationError, match="no server 'mian'") as caught:
        places("mian", write(tmp_path, MAIN))
    assert caught.value.hint == "did you mean 'main'?"


@pytest.mark.parametrize("name", ["walstream", "barman", "all"])
def test_a_reserved_name_is_no_server(tmp_path, name):
    with pytest.raises(ConfigurationError):
        places(name, write(tmp_path, MAIN + f"[{name}]\n"))


@pytest.mark.parametrize("path", ["s3://bucket/x", "relative/path"])
def test_a_repository_that_is_no_absolute_path_is_refused(tmp_path, path):
    with pytest.raises(ConfigurationError, match=r"line 8: 'repository'"):
        places("main", write(tmp_path, MAIN + f"    repository = {path}\n"))


def test_the_home_of_barman_serves_when_there_is_no_other(tmp_path):
    file = write(tmp_path, "[barman]\nbarman_home = /b\n[main]\n")
    assert places("main", file)[0].home == "/b/main"
    file = write(tmp_path, "[barman]\nbarman_home = /b\n[walstream]\nwalstream_home = /w\n[main]\n")
    assert places("main", file)[0].home == "/w/main"


def test_included_files_are_read_by_name(tmp_path):
    (tmp_path / "d").mkdir()
    write(tmp_path / "d", "[extra]\n", "b.conf")
    write(tmp_path / "d", "[ignored]\n", "c.txt")
    file = write(tmp_path, "[walstream]\nwalstream_home = /w\nconfiguration_files_directory = d\n")
    assert places("extra", file)[0].source_file == str(tmp_path / "d" / "b.conf")
    with pytest.raises(ConfigurationError):
        places("ignored", file)


def test_a_missing_directory_of_files_is_a_warning(tmp_path):
    file = write(tmp_path, MAIN.replace("[main]", "configuration_files_directory = /nonexistent\n[main]"))
    _, warnings = places("main", file)
    assert "/nonexistent" in str(warnings[0])


def test_the_file_is_the_one_given_then_the_one_of_the_environment():
    environ = {"WALSTREAM_CONFIG_FILE": "/b.conf"}
    assert find_file("/a.conf", environ) == "/a.conf"
    assert find_file(None, environ) == "/b.conf"


def test_a_given_file_that_is_missing_is_an_error_that_names_it():
    with pytest.raises(ConfigurationError, match="cannot read /nonexistent") as caught:
        places("main", "/nonexistent")
    assert "walstream init" in caught.value.hint
    with pytest.raises(ConfigurationError, match="cannot read /") as caught:
        places("main", "/")
    assert "init" not in caught.value.hint


def test_locating_imports_nothing_heavy():
    heavy = {
        "dataclasses",
        "typing",
        "re",
        "pathlib",
        "logging",
        "enum",
        "collections.abc",
        "argparse",
        "difflib",
    }
    code = "import sys; before = set(sys.modules); import walstream.settings.locate, walstream.cli; "
    code += "print(*(set(sys.modules) - before))"
    code = f"import sys; sys.path[:0] = {sys.path!r}; {code}"
    program = [sys.executable, "-I", "-S", "-c", code]
    run = subprocess.run(program, capture_output=True, text=True, check=True)
    assert heavy.isdisjoint(run.stdout.split())


def test_a_value_that_may_hold_a_password_is_not_quoted(tmp_path):
    with pytest.raises(ConfigurationError) as caught:
        places("main", write(tmp_path, MAIN + "    repository = s3://KEY:SECRET@store/bucket\n"))
    assert "'repository' cannot be this value" in str(caught.value) and "SECRET" not in str(caught.value)
