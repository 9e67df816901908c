"""Unit tests talk to nobody: a test that reaches for the network fails, and says what it reached for."""

import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import settings

settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")
"""A machine that is busy with other tests is no fault of the one that is slow."""

_TALKING = frozenset({"socket.connect", "socket.bind", "socket.sendto", "socket.sendmsg", "socket.getaddrinfo"})
"""What an event loop does to wake itself, a pair of connected sockets, is none of these."""


class SocketForbidden(Exception):
    """Raised where a unit test was about to talk."""


class _Guard:
    """Python's own audit sees every socket, also of code that is no Python. A hook stays for ever, so it is switched.

    Other threads are let through: services of other tests in the same session live on them.
    """

    def __init__(self) -> None:
        self._thread: int | None = None
        sys.addaudithook(self._audit)

    def watch(self, thread: int | None) -> None:
        self._thread = thread

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event in _TALKING and threading.get_ident() == self._thread:
            raise SocketForbidden(f"{event} {arguments[1:]}")


@pytest.fixture(scope="session")
def socket_guard() -> _Guard:
    return _Guard()


@pytest.fixture(autouse=True)
def no_sockets(socket_guard: _Guard) -> Iterator[None]:
    socket_guard.watch(threading.get_ident())
    yield
    socket_guard.watch(None)
