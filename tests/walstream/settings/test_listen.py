"""An address to listen on: what is one, what is refused, and that nothing else is raised."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.configurations import loaded

from walstream.settings.listen import Listen


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:9797", "127.0.0.1", 9797),
        ("0.0.0.0:1", "0.0.0.0", 1),
        ("localhost:65535", "localhost", 65535),
        ("monitor-1.example.com:80", "monitor-1.example.com", 80),
        ("[::1]:9797", "::1", 9797),
    ],
)
def test_an_address_has_a_host_and_a_port_and_is_written_as_it_was(text, host, port):
    assert Listen.parse(text) == Listen(host, port)
    assert str(Listen.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        *(
            "9797",
            ":9797",
            "localhost",
            "localhost:",
            "localhost:0",
            "localhost:65536",
            "localhost:1_0",
            "h:٣",
        ),
        *(
            "localhost:-1",
            "::1:9797",
            "[::1]",
            "[127.0.0.1]:1",
            "127.1:80",
            "256.0.0.1:80",
            "a b:80",
            "-a:80",
        ),
        *("[fe80::1%eth0]:80", "http://localhost:80", "localhost:80/metrics", "a..b:80"),
    ],
)
def test_nonsense_is_refused_with_a_reason(text):
    with pytest.raises(ValueError, match=r"\w"):
        Listen.parse(text)


@given(st.text(alphabet="0123456789abcdef.:[]%-_/ ") | st.text())
def test_whatever_is_written_is_an_address_that_is_written_so_again_or_refused(text):
    try:
        address = Listen.parse(text)
    except ValueError:
        return
    assert Listen.parse(str(address)) == address


def test_a_wrong_address_breaks_the_configuration_with_line_and_what_is_accepted(tmp_path):
    found = loaded(tmp_path, "[walstream]\nwalstream_home = /srv\nmetrics_listen = :9797\n")
    (problem,) = found.problems
    assert "walstream.conf, line 3" in str(problem) and "metrics_listen" in str(problem)
    assert "127.0.0.1:9797" in problem.hint and found.globals.metrics_listen is None


def test_there_is_none_by_default_and_it_belongs_in_the_global_section(tmp_path):
    assert loaded(tmp_path, "[walstream]\nwalstream_home = /srv\n").globals.metrics_listen is None
    text = "[walstream]\nwalstream_home = /srv\n[main]\nconninfo = host=x\nmetrics_listen = localhost:1\n"
    (error,) = loaded(tmp_path, text).broken["main"]
    assert "does not belong there" in str(error)
