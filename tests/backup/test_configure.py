"""A restored cluster's configuration files: what leads to the origin is taken out, wherever it is included."""

import os

import pytest
from support.values import record

from backup.configure import Recovery, configure, described
from catalog.pitr import RecoveryPlan
from catalog.target import LATEST, RecoveryTarget
from catalog.timeline import History, Path
from catalog.walname import Segment

PLAN = RecoveryPlan(
    record(), RecoveryTarget(LATEST), Path.of(History(1, ())), Segment(1, 2), Segment(1, 9), ()
)


@pytest.fixture
def configured(tmp_path):
    """``configured(files)``: write them, configure; what was done."""

    def make(files):
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
            (tmp_path / name).write_text(text)
        return configure(str(tmp_path), PLAN, Recovery("exit 1"), lambda path: None)

    return make


LEADING = "data_directory = '/srv/origin'\n"


@pytest.mark.parametrize(
    "directive, name",
    [
        ("include_dir 'conf.d'", "conf.d/a.conf"),
        ("include 'extra'", "extra"),
        ("include_if_exists = sub/extra.conf", "sub/extra.conf"),
        ("include_dir = './x/../conf.d/'", "conf.d/a.conf"),
    ],
)
def test_what_is_included_is_searched_too(configured, tmp_path, directive, name):
    found = configured({"postgresql.conf": directive, name: LEADING})
    assert found.changes == (f"commented out in {name}: {LEADING.strip()}",)
    content = (tmp_path / name).read_bytes()
    assert content.startswith(b"#") and found.changed_files == {name: described(content)}
    assert found.warnings == ()


def test_an_include_in_an_included_file_is_relative_to_that_file(configured):
    files = {"postgresql.conf": "include 'a/one'", "a/one": "include two", "a/two": f"include one\n{LEADING}"}
    assert list(configured(files).changed_files) == ["a/two"]


def test_only_the_visible_conf_files_of_a_directory_are_included(configured):
    names = ("d/a.conf", "d/.b.conf", "d/c.txt")
    found = configured({"postgresql.conf": "include_dir d", **dict.fromkeys(names, LEADING)})
    assert list(found.changed_files) == ["d/a.conf"]


def test_an_absent_include_is_the_server_s_business(configured):
    found = configured({"postgresql.conf": "include_if_exists 'no'\ninclude_dir 'no.d'"})
    assert (found.changes, found.warnings) == ((), ())


@pytest.mark.parametrize("path", ["/etc/postgresql/x.conf", "../x.conf"])
def test_an_include_outside_is_left_alone_and_told(configured, tmp_path, path):
    (found,) = configured({"postgresql.conf": f"include '{path}'"}).warnings
    assert os.path.normpath(tmp_path / path) in found and "data_directory" in found
