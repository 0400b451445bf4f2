"""The small server: its pages and nothing else, and what it does about those who dawdle or crowd."""

import http.client
import socket
import threading

import pytest
from support.metrics import free_port

from catalog.errors import ListenFailed
from walstream.ops import http as serving
from walstream.ops.http import Page, Server
from walstream.settings.listen import Listen

HOST = "127.0.0.1"


@pytest.fixture
def serve():
    """Serve pages; the port."""
    servers = []

    def serve(**pages):
        server = Server(Listen(HOST, free_port()), {f"/{name}": page for name, page in pages.items()})
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        servers.append(server)
        return server.server_address[1]

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


def ask(port, path="/page", method="GET"):
    connection = http.client.HTTPConnection(HOST, port, timeout=30)
    connection.request(method, path)
    answer = connection.getresponse()
    return answer.status, answer.read(), answer


def page():
    return Page(b"hello\n", content_type="text/x")


def test_a_page_is_served_with_its_type_and_not_kept(serve):
    status, body, answer = ask(serve(page=page), "/page?name=ignored")
    assert (status, body) == (200, b"hello\n")
    assert answer.headers["Content-Type"] == "text/x" and answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("path", ["/", "/pages", "/page/", "/../page", "/%70age", "*"])
def test_there_is_nothing_else(serve, path):
    status, body, _ = ask(serve(page=page), path)
    assert status == 404 and b"/page" in body


@pytest.mark.parametrize("method", ["HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
def test_only_get_is_answered(serve, method):
    status, _, answer = ask(serve(page=page), method=method)
    assert (status, answer.headers["Allow"]) == (405, "GET")


def test_a_page_that_fails_is_an_error_and_spoils_no_other(serve, caplog):
    def broken():
        raise RuntimeError("no such luck")

    port = serve(page=page, broken=broken)
    assert ask(port, "/broken")[0] == 500
    assert "no such luck" in caplog.text
    assert ask(port)[0] == 200


def test_what_is_no_request_is_refused_and_the_next_one_is_answered(serve):
    port = serve(page=page)
    for nonsense in (
        b"\x16\x03\x01\x02\x00\x01\n\n",
        b"GET\r\n\r\n",
        b"GET /" + b"x" * 70000 + b" HTTP/1.1\r\n\r\n",
    ):
        with socket.create_connection((HOST, port), timeout=30) as connection:
            connection.sendall(nonsense)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(4096):
                pass
    assert ask(port)[0] == 200


def test_more_than_a_few_at_once_are_sent_away_until_others_are_done(serve):
    entered, may_go = threading.Semaphore(0), threading.Event()

    def slow():
        entered.release()
        assert may_go.wait(30)
        return page()

    port = serve(page=page, slow=slow)
    answers = []
    threads = [
        threading.Thread(target=lambda: answers.append(ask(port, "/slow")[0])) for _ in range(serving.AT_ONCE)
    ]
    for thread in threads:
        thread.start()
        assert entered.acquire(timeout=30)
    assert ask(port)[0] == 503
    may_go.set()
    for thread in threads:
        thread.join()
    assert answers == [200] * serving.AT_ONCE


def test_whoever_says_nothing_is_let_go(serve, monkeypatch):
    monkeypatch.setattr(serving._Request, "timeout", 0.05)
    with socket.create_connection((HOST, serve(page=page)), timeout=30) as connection:
        connection.sendall(b"GET /page HT")
        assert connection.recv(1) == b""


def test_a_port_that_is_taken_is_said(serve):
    port = serve(page=page)
    with pytest.raises(ListenFailed, match=rf"cannot listen on 127.0.0.1:{port}: .*in use") as refusal:
        Server(Listen(HOST, port), {})
    assert "metrics_listen" in refusal.value.hint and refusal.value.exit_code == 1


def test_a_host_that_nobody_knows_is_said():
    with pytest.raises(ListenFailed, match=r"cannot listen on no-such-host.invalid:1: "):
        Server(Listen("no-such-host.invalid", 1), {})


def test_addresses_of_version_6_are_served(serve):
    try:
        server = Server(Listen("::1", free_port()), {})
    except ListenFailed as error:
        pytest.skip(f"no IPv6 here: {error}")
    assert server.address_family == socket.AF_INET6
    server.server_close()
