"""Who a request turned out to be from: filled in while it is authenticated, and read by whatever stands around the routes."""

from dataclasses import dataclass


@dataclass(slots=True)
class Who:
    """Nobody, at first, at an ``address`` that is None where the server does not know its peer. The prefix is known as soon as a key can be read, the rest once its row was found.

    A key that is refused is still named here, so that the request log can say whose call failed.
    """

    address: str | None = None
    key_prefix: str | None = None
    api_key_id: str | None = None
    partner_id: str | None = None
    admin_key_id: str | None = None
    administrator_id: str | None = None
    unheard: bool = False
    """Refused for the failures of its address, its key not looked at (api/failures.py)."""
