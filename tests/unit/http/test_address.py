"""The address of the HTTP server: which there may be, and that no other process is pushed aside."""

from __future__ import annotations

import fcntl
import os
import socket
import threading
from pathlib import Path

import pytest

from listener.core.errors import AddressInUse, SettingsError
from listener.http.address import BACKLOG, bind, is_public, verify
from tests.support.cases import each_case


def test_a_predecessors_socket_is_taken_over(tmp_path: Path) -> None:
    listen = f"unix:{tmp_path / 'http.sock'}"
    bind(listen).close()  # as a killed process leaves it

    bind(listen).close()


def test_verifying_an_address_leaves_nothing_there(tmp_path: Path) -> None:
    verify(f"unix:{tmp_path / 'http.sock'}")

    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "precious"
    file.write_text("data")

    with pytest.raises(SettingsError, match=r"http\.listen = 'unix:.*precious': Address already in use"):
        bind(f"unix:{file}")
    assert file.read_text() == "data"


def test_a_port_in_use_is_reported_with_a_hint() -> None:
    with bind("127.0.0.1:0") as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(
            AddressInUse, match=rf"http\.listen = '{listen}': Address already in use; use another"
        ):
            bind(listen)


@each_case(
    "listen",
    [
        pytest.param("0.0.0.0:8471", id="everybody"),
        pytest.param("192.0.2.1:8471", id="not-loopback"),
        pytest.param("example.com:80", id="name"),
        pytest.param("127.0.0.1", id="no-port"),
        pytest.param("127.0.0.1:99999", id="port-too-large"),
        pytest.param("127.0.0.1:²", id="no-number"),
        pytest.param("8471", id="only-a-port"),
        pytest.param("unix:/nowhere/at/all.sock", id="no-folder"),
        pytest.param("unix:/tmp/" + "x" * 200, id="path-too-long"),
        pytest.param("unix:", id="no-path"),
    ],
)
def test_an_address_that_cannot_be_is_named(listen: str) -> None:
    with pytest.raises(SettingsError, match=r"http\.listen = "):
        bind(listen).close()


@each_case("listen", ["localhost:0", "[::1]:0"])
def test_loopback_has_several_names(listen: str) -> None:
    if "::1" in listen and not _has_ipv6():
        pytest.skip("this machine has no IPv6")
    with bind(listen) as bound:
        assert bound.getsockname()[1] > 0


def _has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


def test_a_socket_at_which_a_process_listens_is_not_replaced(tmp_path: Path) -> None:
    listen = f"unix:{tmp_path / 'http.sock'}"
    with bind(listen) as first:
        with pytest.raises(
            AddressInUse, match=r"http\.listen = .*http\.sock': another process listens there"
        ):
            bind(listen)

        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(tmp_path / "http.sock"))
            first.accept()[0].close()


def test_a_process_that_does_not_accept_connections_keeps_its_socket(tmp_path: Path) -> None:
    path = str(tmp_path / "http.sock")
    with bind(f"unix:{path}"):
        waiting = [socket.socket(socket.AF_UNIX) for _ in range(BACKLOG + 2)]
        for client in waiting:
            client.setblocking(False)
            client.connect_ex(path)  # the last one finds the backlog full

        with pytest.raises(AddressInUse):
            bind(f"unix:{path}")
        for client in waiting:
            client.close()


def test_of_several_that_start_at_once_beside_a_stale_socket_one_gets_it(tmp_path: Path) -> None:
    listen = f"unix:{tmp_path / 'http.sock'}"
    for _round in range(20):
        bind(listen).close()
        bound: list[socket.socket] = []
        barrier = threading.Barrier(4)

        def start(bound: list[socket.socket] = bound, barrier: threading.Barrier = barrier) -> None:
            barrier.wait()
            try:
                bound.append(bind(listen))
            except AddressInUse:
                pass

        threads = [threading.Thread(target=start) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(bound) == 1
        bound[0].close()


def test_a_socket_is_not_replaced_while_another_process_may_be_doing_so(tmp_path: Path) -> None:
    folder = os.open(tmp_path, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        with pytest.raises(AddressInUse, match="another process is creating a socket"):
            bind(f"unix:{tmp_path / 'http.sock'}")
    finally:
        os.close(folder)


def test_an_address_of_all_networks_needs_permission() -> None:
    with pytest.raises(SettingsError, match=r"other machines could reach this address.*http\.token_file"):
        bind("0.0.0.0:0")

    with bind("0.0.0.0:0", public=True) as bound:
        assert bound.getsockname()[0] == "0.0.0.0"


@each_case(
    ("listen", "public"),
    [
        ("127.0.0.1:8471", False),
        ("localhost:8471", False),
        ("[::1]:8471", False),
        ("unix:/run/http.sock", False),
        ("0.0.0.0:8471", True),
        ("[::]:8471", True),
        ("192.0.2.1:8471", True),
    ],
)
def test_other_machines_reach_only_public_addresses(listen: str, public: bool) -> None:
    assert is_public(listen) is public
