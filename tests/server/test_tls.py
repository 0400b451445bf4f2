"""Receiving over TLS that is verified, as a role with a password: what is wrong is said, but the password never."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.clusters import Cluster
from support.protection import assert_same_wal

PASSWORD = "not-to-be-told"


@dataclass
class Secured:
    """A server whose certificate is for ``localhost``, and the authority that signed it."""

    cluster: Cluster
    authority: str

    def conninfo(self, **extra):
        given = {"host": "localhost", "user": "secured", "password": PASSWORD, "sslrootcert": self.authority}
        return self.cluster.conninfo(
            **given | {"sslmode": "verify-full", "channel_binding": "require"} | extra
        )


@pytest.fixture
def secured(cluster_factory, tmp_path, pg_version):
    cluster = cluster_factory(start=False, segment_megabytes=1, password_users=["secured"])
    cluster.listen()
    authority, key = make_certificate(tmp_path, "authority")
    make_certificate(Path(cluster.directory), "server", "localhost", signed_by=(authority, key))
    cluster.start()
    if cluster.one("SHOW ssl_library") == "":
        pytest.skip(f"THIS POSTGRESQL {pg_version} IS BUILT WITHOUT TLS")
    cluster.configure({"ssl": "on", "ssl_cert_file": "server.crt", "ssl_key_file": "server.key"})
    cluster.stop()
    cluster.start()
    cluster.sql(f"CREATE ROLE secured LOGIN REPLICATION PASSWORD '{PASSWORD}'")
    return Secured(cluster, authority)


def make_certificate(directory, name, host=None, signed_by=None):
    """Make ``name.crt`` and ``name.key`` in a directory: an authority's own, or a host's that one signed."""
    certificate, key = (os.path.join(directory, f"{name}.{kind}") for kind in ("crt", "key"))
    words = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    words += ["-subj", f"/CN={host or name}", "-keyout", key, "-out", certificate]
    if signed_by is not None:
        words += ["-CA", signed_by[0], "-CAkey", signed_by[1], "-addext", f"subjectAltName=DNS:{host}"]
    subprocess.run(["openssl", "req", "-x509", *words], check=True, capture_output=True)
    os.chmod(key, 0o600)
    return certificate, key


def test_wal_is_received_over_tls_that_is_verified_by_a_password_bound_to_it(secured, protect):
    cluster = secured.cluster
    ours = protect(cluster, conninfo=secured.conninfo())
    with ours.receiving():
        cluster.load(rows=10000)
        ours.catch_up()
        used = "SELECT ssl, usename FROM pg_stat_ssl JOIN pg_stat_replication USING (pid)"
        assert cluster.sql(used) == [(True, "secured")]
    assert_same_wal(ours)
    assert_never_told(ours)


def test_a_cut_in_the_middle_of_what_is_encrypted_is_followed(secured, protect, network, eventually):
    cluster = secured.cluster
    line = network(cluster)
    ours = protect(cluster, conninfo=secured.conninfo(port=str(line.port)))
    with ours.receiving() as process:
        for nbytes in (1, 5000, 100_001):
            known = ours.walsender()
            line.after(nbytes, "cut", "close")
            cluster.load(rows=3000)
            eventually(lambda known=known: ours.walsender() not in (None, known), timeout=60)
        ours.catch_up()
        assert process.poll() is None
    assert_same_wal(ours)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("authority", "check sslrootcert"),
        ("host", "a name that is in the server's certificate"),
        ("password", "password authentication failed"),
        ("no binding", "channel_binding = require needs TLS"),
        ("no authority", "check sslrootcert"),
    ],
)
def test_what_is_wrong_with_the_connection_is_said_and_the_password_is_not(
    secured, protect, tmp_path, wrong, said
):
    other, _ = make_certificate(tmp_path, "other")
    changes = {
        "authority": {"sslrootcert": other},
        "host": {"host": "127.0.0.1"},
        "password": {"password": f"{PASSWORD} but wrong"},
        "no binding": {"sslmode": "disable"},
        "no authority": {"sslrootcert": f"{tmp_path}/absent"},
    }
    ours = protect(secured.cluster, conninfo=secured.conninfo(**changes[wrong]))
    for command in ("receive-wal", "backup"):
        done = ours.run(command, "main", code=1)
        assert said in ours.one_error(done.stderr)
        assert PASSWORD not in done.stdout + done.stderr
    assert "FAILED" in ours.run("check", "main", code=1).stdout
    assert_never_told(ours)
    assert not ours.stored()


def assert_never_told(ours):
    """The password is in the configuration, which it was written into, and in no other file."""
    for path in ours.place.rglob("*"):
        if path.is_file() and str(path) != ours.config:
            assert PASSWORD.encode() not in path.read_bytes(), path


def test_tls_that_the_server_does_not_offer_is_asked_for_in_vain(cluster_factory, protect):
    cluster = cluster_factory(start=False)
    cluster.listen()
    cluster.start()
    ours = protect(cluster, conninfo=cluster.conninfo(host="127.0.0.1", sslmode="require"))
    assert "turn ssl on" in ours.refusal("receive-wal", "main")
