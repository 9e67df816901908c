"""Bodies that a confused client might send: whatever they hold, the answer is a problem and never a failure of ours."""

import copy
import json
import random
from typing import Any

import pytest

from tests.api.desk import Desk

SEEDS = range(8)
EACH = 60
NONSENSE: list[Any] = [
    None, True, False, 0, -1, 1.5, 2**63, 2**256, 10**40, "", " ", "0", "-0", "٣", "1\n", "0x", "0x" + "0" * 40, "\U0001f600" * 9,
    "a" * 5_000, "2030-01-01T00:00:00Z", "2030-13-01T00:00:00Z", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59",
    [], {}, [[]], {"": ""}, {"a": {"b": None}}, "\ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16"),
]  # fmt: skip


def _mutated(dice: random.Random, body: dict[str, Any]) -> dict[str, Any]:
    changed = copy.deepcopy(body)
    for _ in range(dice.randint(1, 3)):
        name = dice.choice(
            [*changed, "metadata", "nonce", "payoff", "transfer_log_index", dice.choice(["x", "", "~/", "a b"])]
        )
        if dice.random() < 0.2:
            changed.pop(name, None)
        else:
            changed[name] = dice.choice(NONSENSE)
    return changed


@pytest.mark.parametrize("seed", SEEDS)
async def test_nonsense_never_makes_the_engine_fail(desk: Desk, seed: int) -> None:
    dice = random.Random(seed)  # noqa: S311 - repeatable nonsense, not a secret
    signed = await desk.signed_grant()
    bodies = {
        "/v1/grants": signed,
        "/v1/grants/typed-data": desk.grant_fields(),
        # An amount that is always wrong, so that nothing starts and waits for a worker that is not there.
        "/v1/loans": desk.borrow_body(amount="0"),
        "/v1/loans/x/repayments": {"payoff": False, "transfer_tx_hash": "0x" + "ab" * 32, "memo": ""},
    }
    for _ in range(EACH):
        path = dice.choice(list(bodies))
        body = _mutated(dice, bodies[path])
        if path.startswith("/v1/loans"):
            body |= {"unknown": 1}
        answer = await desk.post(path, body, Idempotency_Key="k")
        assert answer.status_code < 500, (path, json.dumps(body), answer.text)
        if answer.is_error:
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.json()["code"]
