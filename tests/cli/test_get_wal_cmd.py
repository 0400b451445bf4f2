"""``get-wal`` as it is called: the exit code is all that a recovery sees."""

import os
import shutil
import subprocess
import sys

import pytest
from support.filed_wal import name, new_repository, segment_bytes, store
from support.modules import ROOT

from walstream.cli import main

WAL = segment_bytes(7)
HISTORY = b"1\t0/700028\tx\n"


@pytest.fixture
def repository(tmp_path):
    made = new_repository(tmp_path / "root" / "main")
    store(made, {name(7): WAL, "00000002.history": HISTORY}, "zstd")
    return made


@pytest.fixture
def config(tmp_path, repository):
    file = tmp_path / "walstream.conf"
    file.write_text(f"[walstream]\nwalstream_home = {tmp_path}/root\n[main]\nconninfo = host=x\n")
    return str(file)


def walstream(*words, **options):
    """Run the command as a process of its own."""
    program = [sys.executable, "-m", "walstream", *words]
    return subprocess.run(program, capture_output=True, cwd=ROOT, **options)


def test_a_segment_goes_to_standard_output(repository):
    run = walstream("get-wal", repository.root, name(7))
    assert (run.returncode, run.stdout, run.stderr) == (0, WAL, b"")


def test_a_server_is_named_by_the_configuration_or_by_the_path_of_its_repository(
    tmp_path, repository, config
):
    for number, words in enumerate((["-c", config, "get-wal", "main"], ["get-wal", repository.root])):
        output = tmp_path / str(number)
        assert main([*words, name(7), "-o", str(output)]) == 0
        assert output.read_bytes() == WAL


def test_a_directory_as_output_takes_the_file_under_its_name(tmp_path, repository):
    (tmp_path / "here").mkdir()
    assert main(["get-wal", repository.root, "00000002.history", "--output", str(tmp_path / "here")]) == 0
    assert (tmp_path / "here" / "00000002.history").read_bytes() == HISTORY


def test_what_is_absent_is_1_and_writes_nothing(tmp_path, repository, capfd):
    assert main(["get-wal", repository.root, name(8), "-o", str(tmp_path / "out")]) == 1
    assert name(8) in capfd.readouterr().err
    assert not (tmp_path / "out").exists()
    run = walstream("get-wal", repository.root, name(8))
    assert (run.returncode, run.stdout) == (1, b"")


def test_a_partial_segment_is_absent_unless_asked_for(tmp_path, repository):
    (tmp_path / "root" / "main" / "streaming").mkdir()
    (tmp_path / "root" / "main" / "streaming" / f"{name(8)}.partial").write_bytes(segment_bytes(8))
    words = ["get-wal", repository.root, name(8), "-o", str(tmp_path / "out")]
    assert main(words) == 1
    assert main([*words, "-P"]) == 0
    assert (tmp_path / "out").read_bytes() == segment_bytes(8)


TROUBLE = {
    "no arguments": [],
    "one argument": ["main"],
    "too many": ["main", name(7), "x"],
    "an unknown option": ["main", name(7), "--nonsense"],
    "an option without its value": ["main", name(7), "-o"],
    "no such server": ["other", name(7)],
    "no name of WAL": ["main", "README"],
    "a path instead of a name": ["main", "../main/identity.json"],
}


@pytest.mark.parametrize("words", TROUBLE.values(), ids=TROUBLE)
def test_a_wrong_call_is_255(config, words, capfd):
    assert main(["-c", config, "get-wal", *words]) == 255
    assert capfd.readouterr().err.startswith("walstream: error: ")


def test_a_missing_configuration_is_255(tmp_path):
    assert main(["-c", str(tmp_path / "none"), "get-wal", "main", name(7)]) == 255


def test_a_repository_that_is_not_mounted_is_255_and_not_absence(repository, capfd):
    shutil.rmtree(repository.root)
    os.mkdir(repository.root)
    assert main(["get-wal", repository.root, name(7)]) == 255
    assert "mounted" in capfd.readouterr().err


def test_a_damaged_segment_is_255(tmp_path, repository):
    path = repository.storage.path(f"wals/0000000100000000/{name(7)}.zst")
    os.truncate(path, 100)
    assert main(["get-wal", repository.root, name(7), "-o", str(tmp_path / "out")]) == 255
    assert not (tmp_path / "out").exists()


def test_a_segment_of_another_cluster_is_255(tmp_path, repository):
    foreign = WAL[:24] + b"\0" + WAL[25:]
    repository.storage.put(f"wals/0000000100000000/{name(8)}", foreign)
    assert main(["get-wal", repository.root, name(8), "-o", str(tmp_path / "out")]) == 255


def test_an_output_that_cannot_be_written_is_255(repository):
    assert main(["get-wal", repository.root, name(7), "-o", "/nonexistent/x"]) == 255
    with open("/dev/full", "wb") as full:
        program = [sys.executable, "-m", "walstream", "get-wal", repository.root, name(7)]
        assert subprocess.run(program, stdout=full, stderr=subprocess.DEVNULL, cwd=ROOT).returncode == 255


def test_a_slip_elsewhere_in_the_configuration_is_a_warning(tmp_path, repository, config, capfd):
    with open(config, "a", encoding="utf-8") as file:
        file.write("[broken]\nnonsense\n")
    assert main(["-c", config, "get-wal", "main", name(7), "-o", str(tmp_path / "out")]) == 0
    assert "walstream: warning: " in capfd.readouterr().err
