import json

import pytest
from support.age import OURS
from support.configurations import write

from catalog.active_model import write_active_model
from walstream.settings.explain import explained, needless
from walstream.settings.load import load
from walstream.settings.options import OPTIONS

TEXT = """[barman]
barman_home = {home}
barman_user = barman
compression = lz4
[main]
conninfo = host=a password=secret
slot_name = None
path_prefix = /usr/bin
retention_policy = redundancy 3
[standby]
model = true
cluster = main
streaming_conninfo = postgresql://u:secret@b
immediate_checkpoint = yes
"""


@pytest.fixture
def found(tmp_path):
    """What is explained of main by option, with the model in force."""
    (tmp_path / "main" / "state").mkdir(parents=True)
    write_active_model(str(tmp_path / "main"), "standby")
    configuration = load(write(tmp_path, TEXT.format(home=tmp_path)))
    return {
        each.option: each for each in explained(configuration.server("main"), configuration.lookups["main"])
    }


@pytest.mark.parametrize(
    ("option", "value", "text", "origin"),
    [
        ("conninfo", "host=a password=*****", "host=a password=*****", "{file}, line 6"),
        ("streaming_conninfo", "postgresql://u:*****@b", None, "model standby: {file}, line 13"),
        ("wal_streaming_conninfo", "postgresql://u:*****@b", None,
         "model standby: streaming_conninfo: {file}, line 13"),
        ("immediate_checkpoint", True, "yes", "model standby: {file}, line 14"),
        ("compression", "lz4", "lz4", "{file}, line 4"),
        ("compression_level", 1, "1", "default"),
        ("retention_policy", "REDUNDANCY 3", "redundancy 3", "{file}, line 9"),
        ("flush_interval", 1.0, "1s", "default"),
        ("slot_name", None, "–", "default"),
        ("cluster", "main", "main", "default"),
        ("walstream_home", "{home}", "{home}", "barman_home: {file}, line 2"),
        ("repository", "{home}", "{home}", "barman_home: {file}, line 2"),
    ],
)  # fmt: skip
def test_every_option_has_its_value_and_where_it_comes_from(found, tmp_path, option, value, text, origin):
    places = {"file": f"{tmp_path}/walstream.conf", "home": str(tmp_path)}
    each = found[option]
    assert each.value == (value.format(**places) if isinstance(value, str) else value)
    assert each.text == (str(value) if text is None else text.format(**places))
    assert str(each.origin) == origin.format(**places)


def test_no_option_is_left_out_and_no_secret_is_shown(found):
    assert found.keys() == OPTIONS.keys() - {"barman_home", "model"}
    assert "secret" not in repr(found)


SAMPLES = (
    "on",
    "5",
    "99",
    "1h",
    "64MiB",
    "/x",
    "host=a",
    "zstd",
    "auto",
    "REDUNDANCY 1",
    "0 4 * * *",
    "a:97",
    str(OURS.recipient),
)
SET_ALREADY = ("walstream_home", "conninfo", "model", "configuration_files_directory")


@pytest.mark.parametrize("name", sorted(OPTIONS.keys() - set(SET_ALREADY)))
def test_every_value_can_be_written_as_json(tmp_path, name):
    option = OPTIONS[name]
    sample = next(each for each in (*SAMPLES, option.shown) if accepts(option, each))
    section = "main" if "server" in option.scope else "walstream"
    text = f"[walstream]\nwalstream_home = {tmp_path}\n[main]\nconninfo = host=a\n[{section}]\n{name} = {sample}\n"
    configuration = load(write(tmp_path, text))
    found = explained(configuration.server("main"), configuration.lookups["main"])
    assert json.loads(json.dumps({each.option: each.value for each in found}))


def accepts(option, text):
    try:
        return option.kind.parse(text) is not None
    except ValueError:
        return False


def test_what_is_not_needed_is_told_with_its_reason(tmp_path):
    configuration = load(write(tmp_path, TEXT.format(home=tmp_path)))
    told = {line.option: why for line, why in needless(configuration.lookups["main"])}
    assert told.keys() == {"path_prefix", "barman_user"}
    assert "replication connections" in told["path_prefix"]
