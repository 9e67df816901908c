"""What a partner's URL can be made of to reach where it must not, and the like that is harmless."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from activities.webhooks.addresses import AddressRules
from activities.webhooks.transport import Transport
from activities.webhooks.urls import MAX_LENGTH, UrlRules
from models.errors import WebhookUrlRefused
from tests.webhooks.listeners import Listener, Names, Sockets, listening_everywhere

PUBLIC = "93.184.215.14"

LITERALS = {
    "loopback": "https://127.0.0.1:{port}/",
    "loopback, another": "https://127.0.0.2:{port}/",
    "loopback, decimal": "https://2130706433:{port}/",
    "loopback, octal": "https://0177.0.0.1:{port}/",
    "loopback, octal in one": "https://017700000001:{port}/",
    "loopback, hex": "https://0x7f000001:{port}/",
    "loopback, hex parts": "https://0x7f.0x0.0x0.0x1:{port}/",
    "loopback, two parts": "https://127.1:{port}/",
    "loopback, three parts": "https://127.0.1:{port}/",
    "loopback, leading zeros": "https://127.000.000.001:{port}/",
    "loopback, more than a byte": "https://127.0.0.257:{port}/",
    "loopback, trailing dot": "https://127.0.0.1.:{port}/",
    "loopback, full-width digits": "https://\uff11\uff12\uff17.0.0.1:{port}/",
    "loopback, ideographic dots": "https://127\u30020\u30020\u30021:{port}/",
    "loopback, circled digits": "https://\u2460\u2461\u2466.0.0.1:{port}/",
    "loopback, percent-encoded": "https://%31%32%37.0.0.1:{port}/",
    "loopback by its name": "https://localhost:{port}/",
    "loopback by its name with a dot": "https://localhost.:{port}/",
    "unspecified": "https://0.0.0.0:{port}/",
    "unspecified, short": "https://0:{port}/",
    "IPv6 loopback": "https://[::1]:{port}/",
    "IPv6 loopback, long": "https://[0:0:0:0:0:0:0:1]:{port}/",
    "IPv6 unspecified": "https://[::]:{port}/",
    "IPv4-mapped": "https://[::ffff:127.0.0.1]:{port}/",
    "IPv4-mapped, hex": "https://[::ffff:7f00:1]:{port}/",
    "IPv4-compatible": "https://[::127.0.0.1]:{port}/",
    "IPv4-translated": "https://[::ffff:0:127.0.0.1]:{port}/",
    "6to4 of loopback": "https://[2002:7f00:1::1]:{port}/",
    "NAT64 of loopback": "https://[64:ff9b::7f00:1]:{port}/",
    "NAT64, local": "https://[64:ff9b:1::7f00:1]:{port}/",
    "Teredo": "https://[2001:0:7f00:1::1]:{port}/",
    "ISATAP": "https://[2600::5efe:7f00:1]:{port}/",
    "IPv6 with a zone": "https://[fe80::1%25lo]:{port}/",
    "user name": "https://example.com@127.0.0.1:{port}/",
    "user name and password": "https://example.com:443@127.0.0.1:{port}/",
    "public host as a user name, backslash": "https://example.com\\@127.0.0.1:{port}/",
    "fragment before the host": "https://example.com#@127.0.0.1:{port}/",
    "tab in the scheme": "ht\ttps://127.0.0.1:{port}/",
    "line break in the host": "https://127.0.0.1\n:{port}/",
    "header by a line break": "https://127.0.0.1:{port}/%0d%0a\r\nX-Injected: 1",
    "no encryption": "http://127.0.0.1:{port}/",
    "another scheme": "gopher://127.0.0.1:{port}/",
    "file": "file:///etc/passwd",
    "no scheme": "//127.0.0.1:{port}/",
    "one slash": "https:/127.0.0.1:{port}/",
    "no host": "https://:{port}/",
    "port of another service": "https://127.0.0.1:5432/",
    "port 0": "https://127.0.0.1:0/",
    "port with a sign": "https://127.0.0.1:+{port}/",
    "port beyond all": "https://127.0.0.1:99999/",
    "longer than any": "https://127.0.0.1:{port}/" + "a" * MAX_LENGTH,
}

RESOLVED = {
    "loopback": ["127.0.0.1"],
    "loopback, any of the net": ["127.255.1.2"],
    "unspecified": ["0.0.0.0"],  # noqa: S104 - it is refused
    "private, 10/8": ["10.0.0.5"],
    "private, 172.16/12": ["172.31.255.255"],
    "private, 192.168/16": ["192.168.1.1"],
    "metadata of a cloud": ["169.254.169.254"],
    "shared by carriers": ["100.64.0.1"],
    "metadata of another cloud": ["100.100.100.200"],
    "protocol assignments": ["192.0.0.192"],
    "documentation": ["203.0.113.7"],
    "benchmarking": ["198.18.0.1"],
    "6to4 relay": ["192.88.99.1"],
    "multicast": ["224.0.0.1"],
    "reserved": ["250.0.0.1"],
    "broadcast": ["255.255.255.255"],
    "IPv6 loopback": ["::1"],
    "IPv6 unspecified": ["::"],
    "IPv4-mapped": ["::ffff:127.0.0.1"],
    "IPv4-mapped private": ["::ffff:10.0.0.5"],
    "unique local": ["fd00:ec2::254"],
    "link-local": ["fe80::1"],
    "link-local with a zone": ["fe80::1%1"],
    "site-local": ["fec0::1"],
    "IPv6 multicast": ["ff02::1"],
    "IPv6 documentation": ["2001:db8::1"],
    "IPv6 documentation, newer": ["3fff::1"],
    "6to4": ["2002:7f00:1::"],
    "NAT64": ["64:ff9b::7f00:1"],
    "Teredo": ["2001::1"],
    "ORCHID": ["2001:20::1"],
    "discard-only": ["100::1"],
    "outside global unicast": ["4000::1"],
    "a public one, and loopback": [PUBLIC, "127.0.0.1"],
    "loopback, and a public one": ["::1", PUBLIC],
    "nothing": [],
}

ACCEPTED = {
    "a name": ("https://example.com/hooks", [PUBLIC]),
    "a name in capitals": ("HTTPS://Hooks.EXAMPLE.com/", [PUBLIC]),
    "the usual port": ("https://example.com:443/", [PUBLIC]),
    "a port that is allowed": ("https://example.com:8443/hooks?a=1&b=%20", [PUBLIC]),
    "several addresses": ("https://example.com/", [PUBLIC, "2606:2800:21f:cb07:6820:80da:af6b:8b2c"]),
    "Punycode": ("https://xn--bcher-kva.example.com/", [PUBLIC]),
    "digits in a name": ("https://127.0.0.1.nip.example.com/", [PUBLIC]),
    "hex in a name": ("https://0x7f.example.com/", [PUBLIC]),
    "many hyphens": ("https://a--b.example.com/", [PUBLIC]),
    "at sign in the path": ("https://example.com/@127.0.0.1/", [PUBLIC]),
    "an address": (f"https://{PUBLIC}/", [PUBLIC]),
    "an IPv6 address": (
        "https://[2606:2800:21f:cb07:6820:80da:af6b:8b2c]/",
        ["2606:2800:21f:cb07:6820:80da:af6b:8b2c"],
    ),
    "just outside 10/8": ("https://example.com/", ["11.0.0.1"]),
    "just outside 172.16/12": ("https://example.com/", ["172.32.0.1"]),
    "just outside CGNAT": ("https://example.com/", ["100.128.0.1"]),
    "just outside link-local": ("https://example.com/", ["169.255.0.1"]),
    "just outside loopback": ("https://example.com/", ["128.0.0.1"]),
    "just outside multicast": ("https://example.com/", ["223.255.255.1"]),
    "just outside Teredo and ORCHID": ("https://example.com/", ["2001:200::1"]),
}


async def test_the_listener_hears_who_comes() -> None:
    """What the next tests see nothing of would be seen: loopback is reached where it is admitted."""
    async with listening_everywhere() as listener:
        rules = UrlRules(AddressRules(admit_private=True), sandbox=True)
        async with Transport(rules) as transport:
            for host in ("127.0.0.1", "127.0.0.2", "[::1]", "localhost"):
                await transport.post(f"http://{host}:{listener.port}/", b"{}", {})
        assert listener.connections == 4


@pytest_asyncio.fixture
async def listener() -> AsyncIterator[Listener]:
    async with listening_everywhere() as found:
        yield found
        assert found.connections == 0


@pytest.mark.parametrize("case", LITERALS)
async def test_a_hostile_url_reaches_nobody(case: str, listener: Listener) -> None:
    """However the address is spelled or hidden, no packet is sent to it, and the form is refused when it is set up."""
    url, sockets = LITERALS[case].replace("{port}", str(listener.port)), Sockets()
    rules = UrlRules(AddressRules(), ports=(443, listener.port))
    with pytest.raises(WebhookUrlRefused):
        rules.check(url)
    async with Transport(rules, open_socket=sockets.open) as transport:
        answer = await transport.post(url, b"{}", {})
    assert answer.status is None
    assert "refused" in (answer.error or "")
    assert sockets.tried == []


@pytest.mark.parametrize("case", RESOLVED)
async def test_a_name_that_leads_to_a_forbidden_address_reaches_nobody(case: str, listener: Listener) -> None:
    """One address that is not public is enough, wherever among the others it stands."""
    names, sockets = Names([RESOLVED[case]]), Sockets()
    rules = UrlRules(AddressRules(), ports=(443, listener.port))
    async with Transport(rules, resolve=names.resolve, open_socket=sockets.open) as transport:
        answer = await transport.post(f"https://hooks.example.com:{listener.port}/", b"{}", {})
    assert answer.status is None
    assert "refused" in (answer.error or "")
    assert names.asked == ["hooks.example.com"]
    assert sockets.tried == []


@pytest.mark.parametrize("case", ACCEPTED)
async def test_a_harmless_url_is_connected_to(case: str) -> None:
    """The mirror of the hostile cases: the connection is tried to exactly the addresses that were found."""
    url, found = ACCEPTED[case]
    sockets, rules = Sockets(), UrlRules(AddressRules(), ports=(443, 8443))
    async with Transport(rules, resolve=Names([found]).resolve, open_socket=sockets.refuse) as transport:
        answer = await transport.post(url, b"{}", {})
    assert set(sockets.tried) == set(found)
    assert answer.error == "no connection: the test lets nobody out"


async def test_an_answer_of_dns_that_changes_matters_to_nobody(listener: Listener) -> None:
    """A name that is public when it is checked and leads to this machine afterwards is resolved once, and not again."""
    names, sockets = Names([[PUBLIC], ["127.0.0.1"]]), Sockets()
    rules = UrlRules(AddressRules(), ports=(listener.port,))
    async with Transport(rules, resolve=names.resolve, open_socket=sockets.refuse) as transport:
        await transport.post(f"https://rebind.example.com:{listener.port}/", b"{}", {})
        assert names.asked == ["rebind.example.com"]
        assert sockets.tried == [PUBLIC]
        again = await transport.post(f"https://rebind.example.com:{listener.port}/", b"{}", {})
    assert sockets.tried == [PUBLIC]
    assert "loopback" in (again.error or "")


@pytest.mark.parametrize("address", ["169.254.169.254", "224.0.0.1", "0.0.0.0", "fe80::1", "::ffff:10.0.0.5"])  # noqa: S104 - it is refused
def test_the_sandbox_does_not_admit_everything(address: str) -> None:
    """Private addresses and loopback are enough for a receiver on the same machine."""
    rules = AddressRules(admit_private=True)
    assert rules.refusal(address) is not None
    assert rules.refusal("127.0.0.1") is None
    assert rules.refusal("192.168.7.7") is None
