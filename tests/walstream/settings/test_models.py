import pytest
from support.configurations import write

from catalog.active_model import write_active_model
from catalog.errors import ConfigurationError
from walstream.settings.load import load
from walstream.settings.locate import places

TEXT = """
    [walstream]
    walstream_home = {home}

    [main]
    description = the shop
    conninfo = host=a user=walstream
    compression_level = 19

    [main:standby]
    model = true
    cluster = main
    conninfo = host=b user=walstream
    active = on

    [main:gzip]
    model = Yes
    cluster = main
    compression = gzip

    [other]
    conninfo = host=o
    cluster = shops

    [shops:standby]
    model = true
    cluster = shops
    slot_name = standby
"""


@pytest.fixture
def file(tmp_path):
    (tmp_path / "main" / "state").mkdir(parents=True)
    return write(tmp_path, TEXT.format(home=tmp_path))


def with_lines(file, *lines):
    with open(file, "a") as opened:
        opened.write("\n".join(["", *lines, ""]))
    return load(file)


def test_without_a_model_the_section_alone_holds(file):
    server = load(file).server("main")
    assert (server.conninfo, server.active_model, server.cluster) == ("host=a user=walstream", None, "main")
    assert load(file).names == ["main", "other"]


def test_a_model_in_force_holds_in_place_of_the_section(file, tmp_path):
    write_active_model(str(tmp_path / "main"), "main:standby")
    server = load(file).server("main")
    assert server.conninfo == server.streaming_conninfo == "host=b user=walstream"
    assert (server.name, server.description, server.active_model) == ("main", "the shop", "main:standby")
    assert (server.home, server.compression_level) == (str(tmp_path / "main"), 19)
    assert load(file).server("other").active_model is None


@pytest.mark.parametrize("name", ["gone", "shops:standby"])
def test_a_model_that_is_lost_disables_its_server_and_no_other(file, tmp_path, name):
    write_active_model(str(tmp_path / "main"), name)
    configuration = load(file)
    with pytest.raises(ConfigurationError, match="config-switch has it in force") as caught:
        configuration.server("main")
    assert "walstream config-switch main MODEL|--reset" in caught.value.hint
    assert configuration.server("other").name == "other"


def test_a_model_that_does_not_fit_the_section_is_refused_when_it_is_in_force(file, tmp_path):
    write_active_model(str(tmp_path / "main"), "main:gzip")
    with pytest.raises(ConfigurationError, match="does not fit 'compression = gzip' in \\[main\\]"):
        load(file).server("main")


def test_what_is_wrong_in_a_model_is_no_servers_error_until_it_is_in_force(file, tmp_path):
    configuration = with_lines(
        file, "[bad]", "model = on", "cluster = main", "slot_name = A-B", "nonsense = 1"
    )
    assert configuration.server("main").name == "main"
    assert [str(error) for error in configuration.errors] == [
        str(error) for error in configuration.models["bad"].errors
    ]
    assert len(configuration.errors) == 2
    write_active_model(str(tmp_path / "main"), "bad")
    assert list(map(str, load(file).broken["main"])) == list(map(str, configuration.models["bad"].errors))


@pytest.mark.parametrize(
    ("line", "problem", "hint"),
    [
        ("repository = /x", "'repository' in [m] cannot be changed by a model", "section of a server"),
        ("pre_backup_script = /x", "cannot be changed by a model", "section of a server"),
        ("walstream_home = /x", "cannot be changed by a model", "section [walstream]"),
        ("log_level = DEBUG", "cannot be changed by a model", "section [walstream]"),
        ("backup_method = rsync", "'backup_method' in [m] cannot be 'rsync'", "accepted: postgres"),
    ],
)
def test_a_model_may_set_neither_paths_nor_hooks(file, line, problem, hint):
    (error,) = with_lines(file, "[m]", "model = true", "cluster = main", line).models["m"].errors
    assert problem in str(error) and hint in error.hint


def test_a_model_names_a_cluster_that_a_server_has(file):
    models = with_lines(file, "[m]", "model = true", "cluster = mian", "[n]", "model = true").models
    assert "no server is of cluster 'mian'" in str(models["m"].errors[0])
    assert models["m"].errors[0].hint == "did you mean 'main'?"
    assert "'cluster' is not set in the model [n]" in str(models["n"].errors[0])


def test_a_model_is_no_server(file):
    with pytest.raises(ConfigurationError, match="'main:standby' is a model"):
        load(file).server("main:standby")
    with pytest.raises(ConfigurationError, match="no server 'main:standby'"):
        places("main:standby", file)


def test_a_section_that_may_be_a_model_or_not_is_a_broken_server(file):
    assert "model" in str(with_lines(file, "[m]", "model = maybe").broken["m"][0])


def test_fetching_wal_does_not_ask_for_the_model(file, tmp_path):
    write_active_model(str(tmp_path / "main"), "gone")
    found, warnings = places("main", file)
    assert (found.home, warnings) == (str(tmp_path / "main"), [])
