import pytest
from hypothesis import given
from hypothesis import strategies as st

from walstream.settings.conninfo import HIDDEN, Conninfo, masked

PASSWORDS = st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), min_size=9).map(
    lambda text: f"<{text}>"
)


@pytest.mark.parametrize(
    ("conninfo", "shown"),
    [
        ("host=a user=b", "host=a user=b"),
        ("host=a password=secret user=b", f"host=a password={HIDDEN} user=b"),
        ("password = 'it\\'s a secret' host=a", f"password = {HIDDEN} host=a"),
        ("sslpassword=secret", f"sslpassword={HIDDEN}"),
        ("passfile=/x sslkey=/y", "passfile=/x sslkey=/y"),
        ("password= not_a_keyword=a user=b", f"password= {HIDDEN} user=b"),
        ("host=a password='secret", f"host=a {HIDDEN}"),
        ("host=a secret", f"host=a {HIDDEN}"),
        ("postgresql://u@h:5432/db", "postgresql://u@h:5432/db"),
        ("postgresql://u:secret@h:5432,i/db?a=b", f"postgresql://u:{HIDDEN}@h:5432,i/db?a=b"),
        ("postgres://u:se/cr?et@h/db", f"postgres://u:{HIDDEN}@h/db"),
        ("postgres://h/db?password=secret&user=u", f"postgres://h/db?password={HIDDEN}&user=u"),
        ("postgres://h/db?pass%77ord=secret", f"postgres://h/db?pass%77ord={HIDDEN}"),
        ("postgres://h:5432/db", "postgres://h:5432/db"),
        ("postgres://h/db?password=secret&user=a@b", f"postgres://h/db?password={HIDDEN}&user=a@b"),
        ("postgres://h/db?user=a@b&password=secret", f"postgres://h/db?user=a@b&password={HIDDEN}"),
        ("postgres://h/db?password=se:cret@b", f"postgres://h/db?password={HIDDEN}:{HIDDEN}@b"),
    ],
)
def test_secrets_are_hidden_and_nothing_else(conninfo, shown):
    assert masked(conninfo) == shown


def test_the_repr_hides_what_the_string_holds():
    conninfo = Conninfo("host=a password=secret")
    assert str(conninfo) == "host=a password=secret"
    assert "secret" not in repr(conninfo)


@given(PASSWORDS)
def test_no_quoted_password_is_shown(password):
    quoted = password.replace("\\", "\\\\").replace("'", "\\'")
    assert password not in masked(f"host=a password='{quoted}' user=b")


@given(PASSWORDS)
def test_no_password_of_a_uri_is_shown_even_when_it_should_have_been_escaped(password):
    assert password not in masked(f"postgresql://u:{password}@h/db")


@given(st.text())
def test_any_text_can_be_masked(text):
    masked(text)
    masked("postgres://" + text)
