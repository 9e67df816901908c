"""The form that a webhook's URL must have, before anything is resolved: nothing that two parsers could read differently.

The WHATWG rules let a browser read ``0x7f.1`` as 127.0.0.1, and C libraries read ``017700000001`` so. No such spelling is
accepted: a host is either a name of letters, digits and hyphens, or an address in its one canonical spelling.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from yarl import URL

from activities.webhooks.addresses import AddressRules
from models.errors import WebhookUrlRefused

MAX_LENGTH = 2048
_PRINTABLE = re.compile(r"[\x21-\x7e]+")
_TROUBLE = re.compile(r"[\\<>\"^`{|}]")
"""Characters that parsers of URLs are known to disagree about."""
_AUTHORITY = re.compile(
    r"(?P<scheme>https?)://(?P<host>\[[0-9a-f:.]+\]|[a-z0-9.-]+)(?::(?P<port>[1-9][0-9]{0,4}))?(?=[/?]|$)"
)
_LABEL = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_MAX_NAME = 253
_MAX_PORT = 65_535
_PORTS = {"https": 443, "http": 80}


@dataclass(frozen=True)
class Target:
    """Where a URL leads: ``host`` as it is resolved, and sent as SNI. ``is_address``: nothing needs to be resolved."""

    url: URL
    host: str
    port: int
    is_address: bool


@dataclass(frozen=True)
class UrlRules:
    """``sandbox`` admits http, any port, names without a dot, and private addresses."""

    addresses: AddressRules
    ports: Collection[int] = (443,)
    sandbox: bool = False

    def check(self, url: str) -> Target:
        """Raises WebhookUrlRefused, and says why."""
        match = _AUTHORITY.match(_characters(url).lower())
        if match is None:
            raise WebhookUrlRefused(_why_no_authority(url))
        scheme, host = match["scheme"], match["host"]
        if scheme != "https" and not self.sandbox:
            raise WebhookUrlRefused("it must begin with https://")
        port = _PORTS[scheme] if match["port"] is None else int(match["port"])
        if port > _MAX_PORT or not (self.sandbox or port in self.ports):
            raise WebhookUrlRefused(f"port {port} is not allowed")
        return self._target(url, host, port)

    def _target(self, url: str, host: str, port: int) -> Target:
        address = _canonical_address(host)
        if address is None:
            self._check_name(host)
        elif (why := self.addresses.refusal(address)) is not None:
            raise WebhookUrlRefused(f"its address is {why}")
        parsed = _parsed(url)
        if parsed.raw_host != (address or host) or parsed.port != port or parsed.user is not None:
            raise WebhookUrlRefused("its host can be read in more than one way")
        return Target(parsed, address or host, port, is_address=address is not None)

    def _check_name(self, host: str) -> None:
        labels = host.split(".")
        if len(host) > _MAX_NAME or not all(_LABEL.fullmatch(label) for label in labels):
            raise WebhookUrlRefused("its host is not a name of letters, digits and hyphens")
        if _NUMBER.fullmatch(labels[-1]):
            raise WebhookUrlRefused("its host is an address in an unusual spelling")
        if len(labels) == 1 and not self.sandbox:
            raise WebhookUrlRefused("its host is not a full name")


def _characters(url: str) -> str:
    if len(url) > MAX_LENGTH:
        raise WebhookUrlRefused(f"it is longer than {MAX_LENGTH} characters")
    if not _PRINTABLE.fullmatch(url) or _TROUBLE.search(url):
        raise WebhookUrlRefused(
            "it has characters that must be percent-encoded, or a name that must be given in Punycode"
        )
    if "#" in url:
        raise WebhookUrlRefused("it has a fragment, which no server ever sees")
    return url


def _why_no_authority(url: str) -> str:
    scheme, _, rest = url.partition("://")
    if scheme.lower() not in _PORTS or not rest:
        return "it must begin with https://"
    if "@" in re.split(r"[/?]", rest, maxsplit=1)[0]:
        return "it has a user name or password"
    return "its host is not a name, or its port is not a number"


def _canonical_address(host: str) -> str | None:
    """The address that a host is, without brackets. Raises WebhookUrlRefused for an IPv6 address that is none."""
    if host.startswith("["):
        try:
            return str(IPv6Address(host[1:-1]))
        except ValueError:
            raise WebhookUrlRefused("its host is not an IPv6 address") from None
    try:
        return str(IPv4Address(host))  # takes four decimal numbers without leading zeros, and nothing else
    except ValueError:
        return None


def _parsed(url: str) -> URL:
    try:
        return URL(url)
    except ValueError:
        raise WebhookUrlRefused("it cannot be read as a URL") from None
