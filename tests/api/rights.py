"""Who may call what, as a table: the matrix test holds it against the application, and fails for a route that is not in it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from models.statuses import Scope

Things = Mapping[str, str]
"""What belongs to the first partner, by the names that routes have for it."""

Body = Callable[[Things], dict[str, Any]]


@dataclass(frozen=True)
class Partners:
    """A route for keys with this scope. ``other`` is what another partner is told that asks for the first one's thing.

    ``None`` as a code: no problem, since nothing of the first partner's is asked for or told.
    """

    scope: Scope
    other: tuple[int, str | None]
    body: Body | None = None


@dataclass(frozen=True)
class Administrators:
    """A route for administrators' keys. Whoever has none is refused before anybody looks at a body."""


@dataclass(frozen=True)
class Anybody:
    """A route that asks for no key, and takes no notice of one."""

    status: int = 200


Right = Partners | Administrators | Anybody


def _consent(things: Things) -> dict[str, Any]:
    return {
        "oaid_token_id": things["oaid_token_id"],
        "user_wallet": things["user_wallet"],
        "max_amount": "10000000000",
        "expires_at": "2030-01-01T00:00:00Z",
    }


def _signed(things: Things) -> dict[str, Any]:
    """Signed for the first partner."""
    return {**_consent(things), "nonce": things["nonce"], "signature": things["signature"]}


def _borrow(things: Things) -> dict[str, Any]:
    return {
        "oaid_token_id": things["oaid_token_id"],
        "user_wallet": things["user_wallet"],
        "amount": "5000000000",
        "partner_loan_id": things["partner_loan_id"],
    }


def _payoff(_: Things) -> dict[str, Any]:
    return {"payoff": True}


def _url(_: Things) -> dict[str, Any]:
    return {"url": "https://hooks.example.com/"}


def _days(_: Things) -> dict[str, Any]:
    return {"from": "2026-01-01T00:00:00Z", "to": "2026-01-04T00:00:00Z"}


_NO_ENDPOINT = (404, "webhook_endpoint_not_found")

RIGHTS: Mapping[str, Right] = {
    "borrow": Partners(Scope.BORROW, (422, "grant_required"), _borrow),
    "repay": Partners(Scope.REPAY, (404, "loan_not_found"), _payoff),
    "getLoan": Partners(Scope.READ, (404, "loan_not_found")),
    "getPayoff": Partners(Scope.READ, (404, "loan_not_found")),
    "getOperation": Partners(Scope.READ, (404, "operation_not_found")),
    "makeGrantTypedData": Partners(Scope.BORROW, (200, None), _consent),
    "createGrant": Partners(Scope.BORROW, (422, "grant_invalid"), _signed),
    "listGrants": Partners(Scope.READ, (200, None)),
    "revokeGrant": Partners(Scope.BORROW, (404, "grant_not_found")),
    "listRequests": Partners(Scope.READ, (200, None)),
    "listLoans": Partners(Scope.READ, (200, None)),
    "listRepayments": Partners(Scope.READ, (404, "loan_not_found")),
    "listOperations": Partners(Scope.READ, (200, None)),
    "preflightBorrow": Partners(Scope.BORROW, (200, None), _borrow),
    "getMe": Partners(Scope.READ, (200, None)),
    "getStats": Partners(Scope.READ, (200, None)),
    "listCreditLines": Anybody(),
    "listEvents": Partners(Scope.READ, (200, None)),
    "getEvent": Partners(Scope.READ, (404, "event_not_found")),
    "redeliverEvent": Partners(Scope.BORROW, (404, "event_not_found")),
    "createWebhookEndpoint": Partners(Scope.BORROW, (201, None), _url),
    "listWebhookEndpoints": Partners(Scope.READ, (200, None)),
    "getWebhookEndpoint": Partners(Scope.READ, _NO_ENDPOINT),
    "changeWebhookEndpoint": Partners(Scope.BORROW, _NO_ENDPOINT, _url),
    "deleteWebhookEndpoint": Partners(Scope.BORROW, _NO_ENDPOINT),
    "enableWebhookEndpoint": Partners(Scope.BORROW, _NO_ENDPOINT),
    "disableWebhookEndpoint": Partners(Scope.BORROW, _NO_ENDPOINT),
    "rotateWebhookSecret": Partners(Scope.BORROW, _NO_ENDPOINT),
    "testWebhookEndpoint": Partners(Scope.BORROW, _NO_ENDPOINT),
    "listWebhookAttempts": Partners(Scope.READ, _NO_ENDPOINT),
    "redeliverEvents": Partners(Scope.BORROW, _NO_ENDPOINT, _days),
    "getCreditLine": Anybody(),
    "getPosition": Anybody(),
    "live": Anybody(),
    "ready": Anybody(),
    **dict.fromkeys(
        (
            "approveSettlementChange",
            "cancelSettlementChange",
            "changeKey",
            "changePartner",
            "createAdministrator",
            "createPartner",
            "deactivatePartner",
            "disableAdministrator",
            "getLatency",
            "disablePartnerWebhookEndpoint",
            "enablePartnerWebhookEndpoint",
            "getPartner",
            "getRefusals",
            "getUtilisation",
            "getVolume",
            "issueAdminKey",
            "issueKey",
            "listAdminActions",
            "listAdministrators",
            "listAllRequests",
            "listKeys",
            "listPartnerGrants",
            "listPartnerWebhookAttempts",
            "listPartnerWebhookEndpoints",
            "listPartners",
            "listSettlementChanges",
            "reactivatePartner",
            "redeliverPartnerEvent",
            "redeliverPartnerEvents",
            "recordGrant",
            "requestSettlementChange",
            "revokeAdminKey",
            "revokeKey",
            "revokePartnerGrant",
            "rotateKey",
            "suspendPartner",
        ),
        Administrators(),
    ),
}
