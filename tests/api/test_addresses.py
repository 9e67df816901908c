"""From where a request comes: the peer, or what proxies of ours say, and never what the sender says of itself."""

from ipaddress import ip_address
from typing import Any

import pytest

from api.addresses import address, client_address, counted_as, is_in, network, networks

PROXIES = networks(("10.0.0.0/8", "2001:db8:ffff::/48"))


def scope(peer: str | None, *forwarded: str) -> dict[str, Any]:
    headers = [(b"host", b"engine"), *((b"x-forwarded-for", each.encode()) for each in forwarded)]
    return {"client": None if peer is None else (peer, 40_000), "headers": headers}


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("203.0.113.9", [], "203.0.113.9"),
        ("203.0.113.9", ["198.51.100.1"], "203.0.113.9"),
        ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["1.1.1.1, 198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["1.1.1.1, 198.51.100.1, 10.0.0.2"], "198.51.100.1"),
        ("10.0.0.1", ["1.1.1.1", "198.51.100.1 , 10.0.0.2"], "198.51.100.1"),
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ("10.0.0.1", ["198.51.100.1, unknown"], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1, ?, 10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", [""], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1:5123"], "198.51.100.1"),
        ("10.0.0.1", ["[2001:db8::7]:443"], "2001:db8::7"),
        ("::ffff:10.0.0.1", ["::ffff:198.51.100.1"], "198.51.100.1"),
        ("2001:db8:ffff::1", ["2001:db8::7"], "2001:db8::7"),
        ("::ffff:203.0.113.9", [], "203.0.113.9"),
        (None, ["198.51.100.1"], None),
        ("not an address", ["198.51.100.1"], None),
    ],
)
def test_the_client_is_the_nearest_address_that_is_no_proxy_of_ours(
    peer: str | None, forwarded: list[str], client: str | None
) -> None:
    """The right-most untrusted address counts, and only where the peer is a proxy of ours."""
    assert client_address(scope(peer, *forwarded), PROXIES) == (None if client is None else ip_address(client))


def test_without_proxies_nothing_is_believed() -> None:
    """Where no proxy is configured, the peer is the client, whatever the header says."""
    assert client_address(scope("10.0.0.1", "198.51.100.1"), ()) == ip_address("10.0.0.1")


@pytest.mark.parametrize(
    ("found", "block", "inside"),
    [
        ("192.0.2.7", "192.0.2.0/24", True),
        ("192.0.3.7", "192.0.2.0/24", False),
        ("192.0.2.7", "192.0.2.7", True),
        ("::ffff:192.0.2.7", "192.0.2.0/24", True),
        ("192.0.2.7", "::ffff:192.0.2.0/120", True),
        ("2001:db8::1", "2001:db8::/32", True),
        ("2001:db9::1", "2001:db8::/32", False),
        ("192.0.2.7", "::/0", False),
        ("2001:db8::1", "0.0.0.0/0", False),
    ],
)
def test_an_address_is_in_a_network_of_its_own_kind(found: str, block: str, inside: bool) -> None:
    """IPv4 inside IPv6 is IPv4 on both sides; otherwise the two kinds never match."""
    assert is_in(address(found), [network(block)]) is inside


@pytest.mark.parametrize("text", ["", "192.0.2.1/24", "192.0.2.0/33", "example.org", "192.0.2"])
def test_what_is_no_network_is_refused(text: str) -> None:
    """A block with host bits, or none at all, raises ValueError."""
    with pytest.raises(ValueError, match=r"does not appear|has host bits"):
        network(text)


def test_an_unknown_address_is_in_no_network() -> None:
    """Where the server does not know its peer, a list of networks lets nobody in."""
    assert not is_in(None, [network("0.0.0.0/0"), network("::/0")])


def test_one_senders_addresses_of_ipv6_count_as_one() -> None:
    """The /64 that one sender can roam has one count; two of IPv4 have two."""
    assert counted_as("2001:db8:1:2::1") == counted_as("2001:db8:1:2:ffff::9") != counted_as("2001:db8:1:3::1")
    assert counted_as("192.0.2.1") != counted_as("192.0.2.2")
    assert counted_as(None) == "unknown"
