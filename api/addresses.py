"""From where a request comes, and whether that is a place from which it may.

An IPv4 address inside an IPv6 one (``::ffff:192.0.2.1``) is that IPv4 address: which of both a socket shows is up to the
system, and a rule about addresses must not be.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from starlette.types import Scope

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

FORWARDED_FOR = b"x-forwarded-for"
_MAPPED = IPv6Network("::ffff:0:0/96")
_SUBSCRIBER_BITS = 64
"""What one subscriber of IPv6 is given at least: all of it counts as one address."""


def network(text: str) -> Network:
    """The network that a CIDR block, or a lone address, names. Raises ValueError where it names none, or has host bits."""
    found = ip_network(text)
    if isinstance(found, IPv6Network) and found.subnet_of(_MAPPED):
        mapped = IPv4Address(int(found.network_address) & 0xFFFFFFFF)
        return IPv4Network((mapped, found.prefixlen - _MAPPED.prefixlen))
    return found


@lru_cache(maxsize=4096)
def networks(texts: tuple[str, ...]) -> tuple[Network, ...]:
    """Raises ValueError where one of them is none."""
    return tuple(map(network, texts))


def address(text: str) -> Address | None:
    """None where it is no address. A port, as some proxies write it, is left away."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        found = ip_address(text)
    except ValueError:
        return None
    return (found.ipv4_mapped or found) if isinstance(found, IPv6Address) else found


def is_in(found: Address | None, among: Iterable[Network]) -> bool:
    """An address that is not known is in no network."""
    return found is not None and any(found in each for each in among)


def client_address(scope: Scope, proxies: Sequence[Network]) -> Address | None:
    """Who sent the request: the peer, or, where that is a proxy of ours, the nearest address before it that is not.

    ``X-Forwarded-For`` is read from its right end, since each proxy adds what it saw there; what stands further left is
    whatever the sender wrote. Where an entry is no address, nothing left of it counts, and it is the proxy that is told.
    None where the server does not know its peer, as on a Unix socket.
    """
    peer = scope.get("client")
    nearest = address(peer[0]) if peer else None
    if not proxies or not is_in(nearest, proxies):
        return nearest
    for entry in reversed(_forwarded(scope)):
        further = address(entry)
        if further is None:
            break
        nearest = further
        if not is_in(nearest, proxies):
            break
    return nearest


def counted_as(found: str | None) -> str:
    """The name under which the requests of an address are counted: of IPv6 its /64, which one sender can roam."""
    if found is None:
        return "unknown"
    parsed = ip_address(found)
    if isinstance(parsed, IPv4Address):
        return found
    return str(ip_network((int(parsed), _SUBSCRIBER_BITS), strict=False))


def _forwarded(scope: Scope) -> list[str]:
    """The entries of all such headers, in the order in which they were added."""
    values = [value.decode("latin-1") for name, value in scope["headers"] if name == FORWARDED_FOR]
    return [entry for value in values for entry in value.split(",")]
