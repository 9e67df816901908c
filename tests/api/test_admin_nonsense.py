"""Bodies and queries that a confused administrator might send: the answer is a problem, and never a failure of ours."""

import random
from typing import Any

import pytest
from eth_account import Account

from tests.api.admin import Admin, partner_body
from tests.api.desk import Desk
from tests.api.test_nonsense import NONSENSE

EACH = 80
QUERIES = [
    "cursor=%00",
    "limit=0",
    "limit=x",
    "status=ALIVE",
    "tier=%F0%9F%98%80",
    "subject=%00",
    "action=x",
    "cursor=act_",
]


def _bodies(desk: Desk, dice: random.Random) -> dict[tuple[str, str], dict[str, Any]]:
    address = str(Account.create().address)
    acme, key = "/partners/acme", f"/partners/acme/keys/{desk.partner.key_id}"
    return {
        ("POST", "/partners"): partner_body(address, partner_id=f"beta-{dice.randrange(10**9)}", fee_bps=1),
        ("PATCH", acme): {"name": "Acme", "fee_bps": 1, "total_borrow_limit": "5", "contact_email": "a@b.example"},
        ("POST", f"{acme}/reactivate"): {"reason": "x"},
        ("POST", f"{acme}/keys"): {"scopes": ["read"], "label": "x", "allowed_networks": ["10.0.0.0/8"]},
        ("PATCH", key): {"label": "x", "scopes": ["read"], "allowed_networks": []},
        ("POST", f"{key}/rotate"): {"overlap_seconds": 60, "expires_at": None, "reason": "x"},
        ("POST", f"{acme}/grants"): desk.grant_fields(reason="x"),
        ("POST", f"{acme}/settlement-changes"): {"address": address, "reason": "x"},
        ("POST", "/administrators"): {"name": f"A{dice.randrange(10**9)}"},
    }


@pytest.mark.parametrize("seed", range(4))
async def test_nonsense_never_makes_the_admin_api_fail(admin: Admin, desk: Desk, seed: int) -> None:
    """Each body has one or two fields that hold something else, or that are not there."""
    dice = random.Random(seed)  # noqa: S311 - repeatable nonsense, not a secret
    for _ in range(EACH):
        (method, path), body = dice.choice(list(_bodies(desk, dice).items()))
        for name in dice.sample([*body, "x", "with_signing_secret"], 2):
            if dice.random() < 0.2:
                body.pop(name, None)
            else:
                body[name] = dice.choice([*NONSENSE, [dice.choice(NONSENSE)]])
        answer = await admin.ask(method, path, body)
        assert answer.status_code < 500, (path, body, answer.text)
        if answer.is_error:
            assert answer.json()["code"]


@pytest.mark.parametrize("query", QUERIES)
@pytest.mark.parametrize("path", ["/partners", "/actions", "/partners/acme/grants"])
async def test_nonsense_in_a_query_is_refused_or_means_nothing(admin: Admin, path: str, query: str) -> None:
    """A parameter that a route does not know is none of its business."""
    assert (await admin.ask("GET", f"{path}?{query}")).status_code in (200, 422)
