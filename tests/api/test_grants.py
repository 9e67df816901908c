"""Grants: only the line owner's own signature, over exactly these fields, for this partner, once."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from eth_abi.abi import encode
from eth_account import Account
from eth_account.messages import encode_typed_data
from eth_utils.crypto import keccak

from api.administration import record_grant
from contracts.funding import open_line
from models.statuses import GrantEvidence
from models.tables.partners import CreditLineGrant
from tests.api.desk import USD, Desk, new_partner
from tests.api.test_requests import problem


async def test_the_digest_is_that_of_the_design(desk: Desk) -> None:
    """Spelt out by hand: the type string of money.md, and a domain of chain id and OAID address only."""
    asked = desk.grant_fields(expires_at="2030-01-01T00:00:00Z", nonce="7")
    typed = (await desk.post("/v1/grants/typed-data", asked)).json()
    message = encode_typed_data(full_message=typed)
    grant_type = keccak(
        text="CreditLineGrant(string partnerId,uint256 oaidTokenId,address userWallet,uint256 maxAmount,"
        "uint256 expiresAt,uint256 nonce)"
    )
    words = [grant_type, keccak(text="acme"), int(asked["oaid_token_id"]), desk.user, 10_000 * USD, 1_893_456_000, 7]
    body = encode(["bytes32", "bytes32", "uint256", "address", "uint256", "uint256", "uint256"], words)
    domain_type = keccak(text="EIP712Domain(uint256 chainId,address verifyingContract)")
    oaid = desk.settings.oaid_address
    domain = encode(["bytes32", "uint256", "address"], [domain_type, desk.settings.chain_id, oaid])
    assert (message.header, message.body) == (keccak(domain), keccak(body))


async def test_a_signed_grant_is_stored_with_its_position_and_listed(desk: Desk) -> None:
    signed = await desk.signed_grant()
    answer = await desk.post("/v1/grants", signed)
    assert answer.status_code == 201, answer.text
    found = answer.json()
    assert found["position_id"] == str(desk.world.line.position_id)
    assert (found["max_amount"], found["evidence"], found["revoked_at"]) == ("10000000000", "USER_SIGNATURE", None)
    assert (await desk.get("/v1/grants")).json() == {"grants": [found], "next_cursor": None}
    async with desk.transaction() as session:
        row = await session.get_one(CreditLineGrant, found["grant_id"])
    assert row.evidence["signature"] == signed["signature"]
    assert row.nonce == int(signed["nonce"])


CHANGED: list[dict[str, Any]] = [
    {"max_amount": str(10_001 * USD)},
    {"oaid_token_id": "2"},
    {"expires_at": "2031-01-01T00:00:00Z"},
    {"nonce": "123"},
    {"signature": "0x" + "11" * 65},
    {"signature": "0x" + "ff" * 65},
    {"signature": "0x00"},
    {"signature": "0x" + "ab" * 66},
]


@pytest.mark.parametrize("changes", CHANGED, ids=repr)
async def test_a_signature_over_anything_else_is_refused(desk: Desk, changes: dict[str, Any]) -> None:
    signed = await desk.signed_grant()
    problem(await desk.post("/v1/grants", {**signed, **changes}), 422, "grant_invalid")
    assert (await desk.get("/v1/grants")).json()["grants"] == []


async def test_a_signature_by_somebody_else_is_refused(desk: Desk) -> None:
    problem(await desk.grant(signer=Account.create().key.hex()), 422, "grant_invalid")


async def test_a_grant_to_one_partner_does_not_serve_another(desk: Desk) -> None:
    other = await new_partner(desk.transaction, "zeta")
    signed = await desk.signed_grant()
    problem(await desk.post("/v1/grants", signed, key=other.key), 422, "grant_invalid")


async def test_a_grant_that_has_expired_is_refused(desk: Desk) -> None:
    past = (datetime.now(UTC) - timedelta(seconds=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    problem(await desk.grant(expires_at=past), 422, "grant_expired")


async def test_each_nonce_of_a_wallet_counts_once_whatever_else_is_signed(desk: Desk) -> None:
    assert (await desk.grant(nonce="7")).status_code == 201
    problem(await desk.grant(nonce="7"), 409, "grant_nonce_used")
    problem(await desk.grant(nonce="7", max_amount="1"), 409, "grant_nonce_used")
    assert (await desk.grant(nonce="8")).status_code == 201


async def test_the_same_grant_twenty_times_at_once_is_stored_once(desk: Desk) -> None:
    signed = await desk.signed_grant()
    answers = await asyncio.gather(*(desk.post("/v1/grants", signed) for _ in range(20)))
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 19


async def test_a_wallet_that_does_not_own_the_line_cannot_grant_it(desk: Desk) -> None:
    stranger = Account.create()
    signed = await desk.signed_grant(user_wallet=stranger.address, signer=stranger.key.hex())
    problem(await desk.post("/v1/grants", signed), 422, "wallet_not_owner")


async def test_a_line_that_is_not_there_cannot_be_granted(desk: Desk) -> None:
    problem(await desk.grant(oaid_token_id="999"), 422, "credit_line_not_found")


async def test_where_the_platform_holds_the_position_a_signature_counts_for_nothing(desk: Desk) -> None:
    line = await open_line(desk.world.owner, desk.world.contracts, desk.world.operator, 1_000 * USD)
    answer = await desk.grant(oaid_token_id=str(line.credit_line_id))
    assert "administrator" in problem(answer, 422, "grant_invalid")["detail"]


async def test_an_administrators_record_is_listed_as_what_it_is(desk: Desk) -> None:
    async with desk.transaction() as session:
        grant_id = await record_grant(
            session,
            partner_id="acme",
            chain_id=desk.settings.chain_id,
            oaid_address=desk.settings.oaid_address,
            oaid_token_id=5,
            position_id=5,
            user_wallet=desk.user,
            max_amount=1,
            expires_at=datetime.now(UTC) + timedelta(days=1),
            reason="the user's letter of 3 May",
        )
    (found,) = (await desk.get("/v1/grants")).json()["grants"]
    assert (found["grant_id"], found["evidence"], found["nonce"]) == (grant_id, GrantEvidence.ADMINISTRATOR, None)


async def test_a_revoked_grant_no_longer_serves(working_desk: Desk) -> None:
    desk = working_desk
    granted = (await desk.grant()).json()
    path = f"/v1/grants/{granted['grant_id']}"
    other = await new_partner(desk.transaction, "zeta")
    problem(await desk.http.delete(path, headers=desk.auth(other.key)), 404, "grant_not_found")
    assert (await desk.http.delete(path, headers=desk.auth())).status_code == 204
    first = (await desk.get("/v1/grants")).json()["grants"][0]["revoked_at"]
    assert (await desk.http.delete(path, headers=desk.auth())).status_code == 204
    assert (await desk.get("/v1/grants")).json()["grants"][0]["revoked_at"] == first
    problem(await desk.borrow(), 422, "grant_required")


async def test_grants_come_in_pages_newest_first(desk: Desk) -> None:
    for nonce in range(5):
        assert (await desk.grant(nonce=str(nonce))).status_code == 201
    seen: list[str] = []
    path = "/v1/grants?limit=2"
    while path:
        page = (await desk.get(path)).json()
        seen += [grant["nonce"] for grant in page["grants"]]
        path = page["next_cursor"] and f"/v1/grants?limit=2&cursor={page['next_cursor']}"
    assert seen == ["4", "3", "2", "1", "0"]


# A contract that answers isValidSignature with ERC-1271's magic word whatever it is asked, and one that answers zero.
_ANSWER = "63{word}60e01b60005260206000f3"


async def _contract_wallet(desk: Desk, word: str) -> str:
    wallet = str(Account.create().address)
    await desk.world.client.rpc.call("anvil_setCode", wallet, "0x" + _ANSWER.format(word=word))
    return wallet


async def test_a_contract_wallet_is_asked_on_chain(desk: Desk) -> None:
    """It says yes, so what is left to refuse is that it owns no line here; one that says no is refused at once."""
    yes = await _contract_wallet(desk, "1626ba7e")
    signed = await desk.signed_grant(user_wallet=yes)
    problem(await desk.post("/v1/grants", signed), 422, "wallet_not_owner")
    no = await _contract_wallet(desk, "ffffffff")
    signed = await desk.signed_grant(user_wallet=no)
    problem(await desk.post("/v1/grants", signed), 422, "grant_invalid")
    no_wallet = desk.world.contracts.usdc
    signed = await desk.signed_grant(user_wallet=no_wallet)
    problem(await desk.post("/v1/grants", signed), 422, "grant_invalid")
