"""Which addresses the engine may send to on a partner's behalf: public ones, and in the sandbox profile private ones too.

A partner names a URL, and so chooses where the engine connects from inside its own network. What is refused here can never
be reached, whatever a name resolves to. The lists are the IANA special-purpose address registries of IPv4 and IPv6.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


def _networks(*named: tuple[str, str]) -> tuple[tuple[Network, str], ...]:
    return tuple((ip_network(network), name) for network, name in named)


PRIVATE: Final = _networks(
    ("10.0.0.0/8", "private"),
    ("172.16.0.0/12", "private"),
    ("192.168.0.0/16", "private"),
    ("127.0.0.0/8", "loopback"),
    ("::1/128", "loopback"),
    ("fc00::/7", "private (unique local)"),
)
"""What the sandbox profile admits, so that a receiver may run on the same machine."""

REFUSED: Final = _networks(
    ("0.0.0.0/8", "unspecified"),
    ("100.64.0.0/10", "shared by carriers (CGNAT)"),
    ("169.254.0.0/16", "link-local"),
    ("192.0.0.0/24", "reserved for protocols"),
    ("192.0.2.0/24", "documentation"),
    ("192.31.196.0/24", "AS112"),
    ("192.52.193.0/24", "AMT"),
    ("192.88.99.0/24", "6to4 relay"),
    ("192.175.48.0/24", "AS112"),
    ("198.18.0.0/15", "benchmarking"),
    ("198.51.100.0/24", "documentation"),
    ("203.0.113.0/24", "documentation"),
    ("224.0.0.0/4", "multicast"),
    ("240.0.0.0/4", "reserved"),
    ("::/128", "unspecified"),
    ("::ffff:0:0/96", "IPv4-mapped"),
    ("::ffff:0:0:0/96", "IPv4-translated"),
    ("::/96", "IPv4-compatible"),
    ("64:ff9b::/96", "NAT64"),
    ("64:ff9b:1::/48", "NAT64"),
    ("100::/64", "discard-only"),
    ("2001::/32", "Teredo"),
    ("2001:db8::/32", "documentation"),
    ("2001::/23", "reserved for protocols"),
    ("2002::/16", "6to4"),
    ("3fff::/20", "documentation"),
    ("5f00::/16", "segment routing"),
    ("fe80::/10", "link-local"),
    ("fec0::/10", "site-local"),
    ("ff00::/8", "multicast"),
)
_GLOBAL_UNICAST: Final = ip_network("2000::/3")
_ISATAP: Final = frozenset({0x00005EFE, 0x02005EFE})
"""The first half of an interface identifier that embeds an IPv4 address."""


@dataclass(frozen=True)
class AddressRules:
    """``admit_private`` is the sandbox profile. ``also_refused`` are the operator's own networks, where those are public."""

    admit_private: bool = False
    also_refused: Sequence[Network] = ()

    def refusal(self, address: str) -> str | None:
        """Why nothing is sent to this address; None where it may be sent to. A zone (``%eth0``) is refused with it."""
        try:
            parsed = ip_address(address)
        except ValueError:
            return "not an address"
        if isinstance(parsed, IPv6Address) and parsed.scope_id is not None:
            return "bound to an interface"
        if any(parsed in network for network in self.also_refused if network.version == parsed.version):
            return "the operator's own"
        if (private := _named(parsed, PRIVATE)) is not None:
            return None if self.admit_private else private
        return _named(parsed, REFUSED) or _not_global(parsed)


def _named(address: Address, networks: Sequence[tuple[Network, str]]) -> str | None:
    return next((name for network, name in networks if address in network), None)


def _not_global(address: Address) -> str | None:
    """What no list names: everything outside global unicast, and what the standard library holds to be special."""
    if isinstance(address, IPv6Address):
        if address not in _GLOBAL_UNICAST:
            return "outside global unicast"
        if (int(address) >> 32) & 0xFFFFFFFF in _ISATAP:
            return "ISATAP"
    return None if address.is_global else "not global"
