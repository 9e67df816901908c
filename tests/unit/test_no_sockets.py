"""The guard of the unit tests guards."""

import asyncio
import socket

import pytest

from tests.unit.conftest import SocketForbidden

NOBODY = ("127.0.0.1", 9)


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_connecting_is_refused(kind: socket.SocketKind) -> None:
    """A socket of any kind connects to nothing."""
    with socket.socket(socket.AF_INET, kind) as each, pytest.raises(SocketForbidden, match=r"socket\.connect"):
        each.connect(NOBODY)


def test_listening_is_refused() -> None:
    """No port is opened."""
    with socket.socket() as each, pytest.raises(SocketForbidden, match=r"socket\.bind"):
        each.bind(("127.0.0.1", 0))


def test_sending_is_refused() -> None:
    """A datagram needs no connection, and is refused as well."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as each,
        pytest.raises(SocketForbidden, match=r"socket\.sendto"),
    ):
        each.sendto(b"", NOBODY)


def test_names_are_not_resolved() -> None:
    """Not even a name server is asked."""
    with pytest.raises(SocketForbidden, match=r"socket\.getaddrinfo"):
        socket.getaddrinfo("example.invalid", 443)


async def test_an_asynchronous_connection_is_refused() -> None:
    """The event loop's own way to the network is closed, too."""
    with pytest.raises(SocketForbidden):
        await asyncio.open_connection(*NOBODY)


def test_an_event_loop_may_be_made() -> None:
    """A loop wakes itself through a pair of sockets, which talk to nobody else."""
    assert asyncio.run(asyncio.sleep(0, "woken")) == "woken"
