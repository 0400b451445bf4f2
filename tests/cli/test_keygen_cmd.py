"""keygen: an identity for its owner alone; nothing secret is printed, nothing overwritten."""

from __future__ import annotations

import json
import stat

from support.age import OURS, tool

from catalog.identity import read_identities


def test_it_makes_an_identity_and_prints_its_recipient(commands, tmp_path):
    path = tmp_path / "identity"
    done = commands("keygen", str(path))
    (identity,) = read_identities(str(path))
    assert (done.code, done.out) == (0, f"{identity.recipient}\n")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "keep a copy" in done.err and identity.secret_text() not in done.out + done.err


def test_an_existing_file_is_refused_and_left_as_it_is(commands, tmp_path):
    path = tmp_path / "identity"
    path.write_text("precious")
    done = commands("keygen", str(path))
    assert done.code == 1 and "exists already; nothing was written" in done.err
    assert path.read_text() == "precious"


def test_it_prints_the_recipients_of_a_file(commands, tmp_path):
    path = tmp_path / "identity"
    path.write_text(OURS.secret_text())
    path.chmod(0o600)
    assert commands("keygen", "-y", str(path)).out == f"{OURS.recipient}\n"
    facts = json.loads(commands("-f", "json", "keygen", "-y", str(path)).out)
    assert facts["identity"]["recipients"] == [str(OURS.recipient)]
    assert tool("age-keygen", "-y", str(path)).decode().strip() == str(OURS.recipient)


def test_a_file_that_is_open_to_others_is_refused(commands, tmp_path):
    path = tmp_path / "identity"
    path.write_text(OURS.secret_text())
    path.chmod(0o644)
    done = commands("keygen", "-y", str(path))
    assert done.code == 1 and "chmod 600" in done.err
