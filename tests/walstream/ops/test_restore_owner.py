"""Who may own a restored cluster, as far as modes tell."""

import os
import tempfile
from pathlib import Path

import pytest

from walstream.ops.restore_owner import closed_on_the_way


@pytest.fixture
def place():
    """A directory that everybody may pass, unlike those of pytest."""
    with tempfile.TemporaryDirectory() as path:
        os.chmod(path, 0o755)
        yield Path(path)


@pytest.fixture
def program(place):
    """A program behind a link, each in a directory of its own; everybody may run it."""
    for path in (place / "real", place / "linked"):
        path.mkdir()
        path.chmod(0o755)
    program = place / "real" / "python"
    program.touch()
    program.chmod(0o755)
    os.symlink(program, place / "linked" / "python")
    return str(place / "linked" / "python")


def test_a_program_that_everybody_may_run_is_open(program):
    assert closed_on_the_way(program, 4711, {4711}) is None


@pytest.mark.parametrize("name", ["real/python", "real", "linked", ""])
def test_a_program_behind_something_private_is_closed(place, program, name):
    private = (place / name).resolve()
    private.chmod(0o700)
    assert closed_on_the_way(program, 4711, {4711}) in (str(private), program)
    assert closed_on_the_way(program, os.geteuid(), set()) is None


def test_a_group_s_bits_count_for_its_members_only(place, program):
    (place / "real").chmod(0o710)
    group = (place / "real").stat().st_gid
    assert closed_on_the_way(program, 4711, {group}) is None
    assert closed_on_the_way(program, 4711, set()) == str(place / "real")
