"""What anybody may read: credit lines with their user's score and history, and positions with what is owed on them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import httpx
import pytest
from eth_account import Account
from sqlalchemy import update

from chain.client import ChainClient
from contracts.funding import open_lines
from models.tables.loans import SolvencyPosition
from tests.api.desk import USD, Desk
from tests.api.test_requests import problem
from tests.chain.world import INSTALLMENTS, LOAN_DURATION


async def _public(desk: Desk, path: str) -> dict[str, Any]:
    """Without a key."""
    answer: httpx.Response = await desk.http.get(path)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


@asynccontextmanager
async def _undone(client: ChainClient) -> AsyncIterator[None]:
    snapshot = await client.rpc.call("evm_snapshot")
    try:
        yield
    finally:
        await client.rpc.call("evm_revert", snapshot)


async def test_a_line_shows_its_users_score_and_history(desk: Desk) -> None:
    """After a payment in time and one too late, the line counts both, and the score is what OAID says."""
    world, line = desk.world, desk.world.line
    fresh = await _public(desk, f"/v1/credit-lines/{line.credit_line_id}")
    assert fresh["profile"]["credit_score"] == 500
    assert fresh["profile"]["total_credit_limit"] == "7000000000"
    async with _undone(world.client):
        await world.borrow(world.user, 5_000 * USD)
        await world.approve_vault(world.user, 1_000 * USD)
        await world.repay(world.user, 100 * USD)
        await world.mine_at((await world.client.head()).timestamp + 3 * LOAN_DURATION)
        await world.repay(world.user, 100 * USD)
        found = await _public(desk, f"/v1/credit-lines/{line.credit_line_id}")
        (score,) = await world.client.read(world.oaid.get_credit_score(world.user.address), block="latest")
        head = await world.client.head()
    assert found["as_of_block"] == head.number
    for shown in (found, found["profile"]):
        assert (shown["total_payments"], shown["on_time_payments"], shown["late_payments"]) == (2, 1, 1)
    assert found["profile"]["credit_score"] == score == 500
    assert found["profile"]["liquidations"] == 0
    assert found["total_amount_repaid"] == str(200 * USD)


async def test_a_wallets_lines_come_in_pages_newest_first(desk: Desk) -> None:
    """All pages are the wallet's lines, each once, also where another line is opened between two of them."""
    world = desk.world
    async with _undone(world.client):
        for _ in range(2):
            await open_lines(world.owner, world.contracts, [world.user], 1_000 * USD, lines_each=3)
        (ids,) = await world.client.read(world.oaid.get_user_credit_lines(world.user.address), block="latest")
        expected = [str(each) for each in reversed(ids)]
        first = await _public(desk, f"/v1/credit-lines?user_wallet={desk.user}&limit=3")
        await open_lines(world.owner, world.contracts, [world.user], 1_000 * USD)
        seen, page = first["credit_lines"], first
        while page["next_cursor"] is not None:
            page = await _public(desk, f"/v1/credit-lines?user_wallet={desk.user}&limit=3&cursor={page['next_cursor']}")
            seen += page["credit_lines"]
        newest = await _public(desk, f"/v1/credit-lines?user_wallet={desk.user}&limit=1")
    assert [line["oaid_token_id"] for line in seen] == expected
    assert {line["user_wallet"] for line in seen} == {desk.user}
    assert seen[-1]["available_credit"] == "7000000000"
    assert first["profile"]["active_credit_lines"] == 7
    assert newest["credit_lines"][0]["oaid_token_id"] not in expected


async def test_a_wallet_without_lines_has_none(desk: Desk) -> None:
    """It is no error: an empty list, and the profile that OAID gives a stranger."""
    wallet = str(Account.create().address)
    found = await _public(desk, f"/v1/credit-lines?user_wallet={wallet.lower()}")
    assert (found["user_wallet"], found["credit_lines"], found["next_cursor"]) == (wallet, [], None)
    assert (found["profile"]["credit_score"], found["profile"]["total_credit_limit"]) == (0, "0")


WRONG = [
    ("", "user_wallet"),
    ("user_wallet=0x12", "user_wallet"),
    ("user_wallet={wallet}&cursor=0", "cursor"),
    ("user_wallet={wallet}&cursor=x", "cursor"),
    ("user_wallet={wallet}&limit=51", "limit"),
    ("user_wallet={wallet}&status=ACTIVE", "status"),
]


@pytest.mark.parametrize(("query", "parameter"), WRONG, ids=repr)
async def test_each_wrong_parameter_is_named(desk: Desk, query: str, parameter: str) -> None:
    """A wallet must be given, and what cannot be is 422 and says which parameter it is."""
    answer = await desk.http.get("/v1/credit-lines?" + query.format(wallet=desk.user))
    assert [each["parameter"] for each in problem(answer, 422, "invalid_request")["errors"]] == [parameter]


async def test_a_position_shows_its_health_plan_and_whose_debt_it_is(working_desk: Desk) -> None:
    """Health and plan are the chain's; of the debt it says how much came through the engine, and never through whom."""
    desk, world = working_desk, working_desk.world
    path = f"/v1/positions/{world.line.position_id}"
    unknown = await _public(desk, path)
    assert (unknown["total_partner_debt"], unknown["outside_debt"]) == ("0", None)
    await desk.grant()
    assert (await desk.borrow()).status_code == 202
    async with desk.transaction() as session:
        await session.execute(update(SolvencyPosition).values(total_partner_debt=5_000 * USD, outside_debt=7))
    async with _undone(world.client):
        await world.borrow(world.user, 5_000 * USD)
        began = (await world.client.head()).timestamp
        found = await _public(desk, path)
        (health,) = await world.client.read(world.vault.get_health_factor(world.line.position_id), block="latest")
    assert (found["total_partner_debt"], found["outside_debt"]) == ("5000000000", "7")
    assert found["health_factor_bps"] == str(health) == "20000"
    plan = found["plan"]
    assert (plan["active"], plan["number_of_installments"], plan["missed_payments"]) == (True, INSTALLMENTS, 0)
    due = datetime.fromisoformat(plan["next_payment_due"])
    assert due.timestamp() == began + LOAN_DURATION // INSTALLMENTS
    assert "acme" not in str(found)
    assert desk.partner.key_id not in str(found)
