import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.configurations import MAIN, loaded

from catalog.errors import ConfigurationError
from walstream.settings.fates import FATES
from walstream.settings.ini import Document
from walstream.settings.load import configured, load, setting
from walstream.settings.options import OPTIONS, PREFETCH_SEGMENTS


def refusal(tmp_path, line: str) -> ConfigurationError:
    configuration = loaded(tmp_path, MAIN + f"    {line}\n")
    with pytest.raises(ConfigurationError) as caught:
        configuration.server("main")
    return caught.value


def test_a_server_with_a_conninfo_alone_has_all_defaults(tmp_path):
    server = loaded(tmp_path, MAIN).server("main")
    assert (
        server.streaming_conninfo
        == server.wal_streaming_conninfo
        == server.conninfo
        == "host=db user=walstream"
    )
    assert (server.compression, server.compression_level, server.slot_name) == ("zstd", 1, None)
    assert (server.flush_interval, server.unsynced_limit, server.bandwidth_limit) == (1.0, 64 << 20, None)
    assert (server.repository, server.home) == ("/srv/walstream/main", "/srv/walstream/main")


def test_a_connection_string_defaults_to_the_one_before(tmp_path):
    server = loaded(tmp_path, MAIN + "    streaming_conninfo = host=b\n").server("main")
    assert (server.streaming_conninfo, server.wal_streaming_conninfo) == ("host=b", "host=b")


def test_a_value_comes_from_the_server_then_the_global_section_then_the_default(tmp_path):
    text = MAIN.replace(
        "[main]", "compression = lz4\n    immediate_checkpoint = on\n    [main]\n    compression = gzip"
    )
    server = loaded(tmp_path, text).server("main")
    assert (server.compression, server.immediate_checkpoint, server.backup_compression) == (
        "gzip",
        True,
        "zstd",
    )


def test_an_unset_value_hides_the_global_one(tmp_path):
    text = MAIN.replace("[main]", "slot_name = shared\n    [main]\n    slot_name = None")
    assert loaded(tmp_path, text).server("main").slot_name is None


def test_none_is_a_codec_before_it_is_unset(tmp_path):
    assert loaded(tmp_path, MAIN + "    compression = None\n").server("main").compression == "none"


def test_a_wrong_value_names_file_line_option_and_what_is_accepted(tmp_path):
    error = refusal(tmp_path, "compression = zip")
    assert str(error) == f"{tmp_path}/walstream.conf, line 8: 'compression' in [main] cannot be 'zip'"
    assert error.hint == "accepted: none, gzip, lz4, zstd"


def test_a_wrong_name_is_refused_with_the_nearest(tmp_path):
    error = refusal(tmp_path, "compresion = zstd")
    assert "line 8: 'compresion' in [main] is not an option" in str(error)
    assert error.hint == "did you mean 'compression'?"


def test_a_wrong_conninfo_is_not_repeated_in_the_message(tmp_path):
    assert "secret" not in str(refusal(tmp_path, "streaming_conninfo = secret"))


def test_what_is_designed_and_not_made_yet_is_refused_as_such(tmp_path):
    assert "not supported yet" in str(refusal(tmp_path, "repository = s3://bucket"))


@pytest.mark.parametrize(
    "line",
    [
        "encryption = none", "minimum_redundancy = 0", "archiver = off",
        "cluster = main", "model = no",
        "retention_policy =", "retention_policy_mode = auto", "backup_options = concurrent_backup",
        "reuse_backup = off", "parallel_jobs = 4",
    ],
)  # fmt: skip
def test_what_changes_nothing_is_accepted(tmp_path, line):
    loaded(tmp_path, MAIN + f"    {line}\n").server("main")


@pytest.mark.parametrize(
    ("line", "way_out"),
    [
        ("backup_method = rsync", "replication connection"),
        ("wals_directory = /x", "'repository'"),
        ("reuse_backup = link", "incremental"),
        ("encryption_key_id = me", "gpg"),
    ],
)
def test_what_barman_has_and_walstream_does_otherwise_is_refused_with_the_way_out(tmp_path, line, way_out):
    assert way_out in str(refusal(tmp_path, line))


def test_options_that_are_not_needed_are_listed(tmp_path):
    text = MAIN.replace("[main]", "barman_user = barman\n    [main]\n    path_prefix = /usr/pgsql/bin")
    assert loaded(tmp_path, text).server("main").not_needed == ("barman_user", "path_prefix")


def test_a_broken_server_does_not_disable_the_others(tmp_path):
    configuration = loaded(
        tmp_path, MAIN + "[broken]\n    conninfo = host=x\n    nonsense = 1\n    slot_name = A\n"
    )
    assert (list(configuration.servers), list(configuration.broken)) == (["main"], ["broken"])
    assert len(configuration.broken["broken"]) == 2


def test_all_errors_of_a_broken_server_are_raised_together(tmp_path):
    configuration = loaded(tmp_path, MAIN + "    nonsense = 1\n    slot_name = A\n")
    with pytest.raises(ConfigurationError, match=r"line 8(.|\n)*line 9"):
        configuration.server("main")


def test_an_error_of_the_global_section_breaks_every_server(tmp_path):
    configuration = loaded(tmp_path, MAIN.replace("[main]", "compresion = gzip\n    [main]"))
    assert list(configuration.broken) == ["main"]
    assert len(configuration.problems) == 1


@pytest.mark.parametrize(("level", "number"), [("9", 9), ("high", 9), ("low", 1)])
def test_a_level_is_a_number_or_one_of_barmans_words(tmp_path, level, number):
    text = MAIN + f"    compression = gzip\n    compression_level = {level}\n"
    assert loaded(tmp_path, text).server("main").compression_level == number


def test_a_level_that_the_codec_does_not_have_is_refused(tmp_path):
    error = refusal(tmp_path, "compression = gzip\n    compression_level = 15")
    assert "line 9: 'compression_level' does not fit 'compression = gzip'" in str(error)


def test_an_option_in_the_wrong_section_says_where_it_belongs(tmp_path):
    assert refusal(tmp_path, "log_level = INFO").hint == "it belongs in the section [walstream]"


def test_a_server_without_conninfo_is_broken(tmp_path):
    assert "conninfo" in str(loaded(tmp_path, "[walstream]\nwalstream_home = /w\n[main]\n").broken["main"][0])


@pytest.mark.parametrize("name", ["..", "a b", "all", "-x", "a/b", "é"])
def test_a_server_with_a_name_that_cannot_be_a_directory_is_broken(tmp_path, name):
    assert name in loaded(tmp_path, MAIN + f"[{name}]\n    conninfo = host=x\n").broken


def test_an_unknown_server_is_refused_with_the_nearest_name(tmp_path):
    with pytest.raises(ConfigurationError) as caught:
        loaded(tmp_path, MAIN).server("mainn")
    assert caught.value.hint == "did you mean 'main'?"


def test_no_repr_shows_a_password(tmp_path):
    configuration = loaded(tmp_path, MAIN + "    streaming_conninfo = host=a password=secret\n")
    assert "secret" not in repr(configuration)


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("", 8),
        ("prefetch_segments = 0", 0),
        ("prefetch_segments =", 8),
        ("nonsense = 1\nprefetch_segments = 3", 3),
    ],
)
def test_one_setting_is_read_whatever_else_is_wrong(tmp_path, line, value):
    (tmp_path / "walstream.conf").write_text(f"[main]\n{line}\n[broken\n[other]\nprefetch_segments = 99\n")
    assert setting("main", PREFETCH_SEGMENTS, str(tmp_path / "walstream.conf")) == (value, None)


def test_one_setting_that_is_itself_wrong_is_the_default_and_told(tmp_path):
    (tmp_path / "walstream.conf").write_text("[walstream]\nprefetch_segments = many\n[main]\n")
    value, problem = setting("main", PREFETCH_SEGMENTS, str(tmp_path / "walstream.conf"))
    assert value == PREFETCH_SEGMENTS.default
    assert "walstream.conf, line 2: 'prefetch_segments' in [walstream] cannot be 'many'" in str(problem)


def test_of_a_server_that_is_given_as_a_path_no_setting_is_read(tmp_path):
    assert setting("/srv/main", PREFETCH_SEGMENTS, str(tmp_path / "absent")) == (8, None)


def test_a_missing_file_is_an_error_that_names_it():
    with pytest.raises(ConfigurationError, match="/nonexistent"):
        load("/nonexistent")


LINES = st.one_of(
    st.sampled_from(["[walstream]", "[barman]", "[main]", "[b]", "[", "x", " = "]),
    st.builds("{} = {}".format, st.sampled_from([*OPTIONS, *FATES, "other"]), st.text(max_size=12)),
    st.text(max_size=20),
)


@given(st.lists(LINES).map("\n".join))
def test_any_text_is_a_configuration_or_configuration_errors(text):
    document = Document()
    document.read(text, "file")
    configuration = configured(document, "file")
    for name in configuration.names:
        try:
            assert configuration.server(name).name == name
        except ConfigurationError as error:
            assert "file" in str(error)


@given(st.binary())
def test_any_bytes_are_a_configuration_or_a_configuration_error(tmp_path_factory, content):
    file = tmp_path_factory.mktemp("bytes") / "walstream.conf"
    file.write_bytes(b"[walstream]\nwalstream_home = /w\n[main]\n" + content)
    load(str(file))
