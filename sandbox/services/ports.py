"""Ports that two sandboxes or test workers started at the same moment never both take.

Asking the kernel for a free port and then telling a program to use it leaves a gap in which another may take it. Here a
port is *leased*: its number is also bound as a UDP port, which the kernel gives to one process only and takes back when
that process dies. All who lease respect it, no file is left behind, and the TCP side stays free for the program. Numbers
come from below the range that outgoing connections use, so those cannot take one in the gap either.
"""

import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager

LOOPBACK = "127.0.0.1"
FIRST_PORT, LAST_PORT = 15000, 29999
ATTEMPTS = 500


def _reserve(port: int) -> socket.socket | None:
    """The lease of this port, or nothing when someone holds it or listens there."""
    holder = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        holder.bind((LOOPBACK, port))
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            # As the services do themselves: a port whose old connections still linger counts as free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((LOOPBACK, port))
    except OSError:
        holder.close()
        return None
    return holder


def _candidates(preferred: int | None) -> Iterator[int]:
    if preferred is not None:
        yield preferred
    for _ in range(ATTEMPTS):
        yield FIRST_PORT + secrets.randbelow(LAST_PORT - FIRST_PORT + 1)


@contextmanager
def leased_port(preferred: int | None = None) -> Iterator[int]:
    """A free TCP port of the loopback interface: the preferred one if it is free. Ours until the block ends."""
    for port in _candidates(preferred):
        holder = _reserve(port)
        if holder is not None:
            with holder:
                yield port
            return
    raise OSError(f"no free port found between {FIRST_PORT} and {LAST_PORT}")
