"""What a partner is told of itself: terms, key, limits and lifetime figures, and nothing of another partner's."""

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import update

from api.administration import issue_key
from models.statuses import LoanStatus, PartnerTier, RepaymentMode, RepaymentState, Scope
from models.tables.loans import Loan, Repayment
from models.tables.partners import ApiKey, Partner, PartnerDay
from models.tiers import TIERS
from tests.api.crowd import crowd
from tests.api.desk import USD, Desk, new_partner
from tests.api.test_requests import problem


async def _me(desk: Desk, key: str | None = None) -> dict[str, Any]:
    answer = await desk.get("/v1/me", key=key)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def _stats(desk: Desk, key: str | None = None) -> dict[str, Any]:
    answer = await desk.get("/v1/me/stats", key=key)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_a_partner_sees_its_terms_and_the_key_it_asks_with(desk: Desk) -> None:
    """Tier, fee and requests are the tier's where its own row says nothing else; the key is the one that asks."""
    found = await _me(desk)
    assert (found["partner_id"], found["name"], found["status"], found["tier"]) == ("acme", "Acme", "ACTIVE", "PREMIUM")
    terms = TIERS[PartnerTier.PREMIUM]
    assert (found["fee_bps"], found["requests_per_minute"]) == (terms.fee_bps, terms.requests_per_minute)
    until = datetime(2030, 1, 1, tzinfo=UTC)
    async with desk.transaction() as session:
        issued = await issue_key(session, partner_id="acme", mode="sandbox", scopes=[Scope.READ], expires_at=until)
        await session.execute(update(ApiKey).where(ApiKey.id == issued.key_id).values(label="reports"))
        await session.execute(update(Partner).values(requests_per_minute=7, fee_bps=33))
    found = await _me(desk, issued.key)
    assert (found["fee_bps"], found["requests_per_minute"]) == (33, 7)
    key = found["key"]
    assert (key["key_id"], key["prefix"], key["label"]) == (issued.key_id, issued.prefix, "reports")
    assert (key["scopes"], datetime.fromisoformat(key["expires_at"])) == (["read"], until)
    assert issued.key not in str(found)


async def test_limits_show_what_is_used_reserved_and_left(working_desk: Desk) -> None:
    """A borrow that is accepted is reserved in both limits; what is on chain is used; the rest remains."""
    desk = working_desk
    await desk.grant()
    fresh = (await _me(desk))["limits"]
    assert fresh["daily"] == {"limit": "100000000000", "used": "0", "reserved": "0", "remaining": "100000000000"}
    assert fresh["total"] == {"limit": "500000000000", "used": "0", "reserved": "0", "remaining": "500000000000"}
    assert (await desk.borrow()).status_code == 202
    async with desk.transaction() as session:
        await session.execute(update(Partner).values(outstanding=20_000 * USD))
        await session.execute(update(PartnerDay).values(borrowed=30_000 * USD))
    found = (await _me(desk))["limits"]
    assert found["daily"] == {
        "limit": "100000000000",
        "used": "30000000000",
        "reserved": "5000000000",
        "remaining": "65000000000",
    }
    assert found["total"] == {
        "limit": "500000000000",
        "used": "20000000000",
        "reserved": "5000000000",
        "remaining": "475000000000",
    }


async def test_the_day_turns_at_midnight_utc_and_yesterday_no_longer_counts(desk: Desk) -> None:
    """The daily limit is whole again at the next midnight, and what was borrowed before today is not part of it."""
    async with desk.transaction() as session:
        yesterday = datetime.now(UTC).date() - timedelta(days=1)
        session.add(PartnerDay(partner_id="acme", day=yesterday, borrowed=90_000 * USD, reserved=0))
    limits = (await _me(desk))["limits"]
    assert limits["daily"]["used"] == "0"
    turns = datetime.fromisoformat(limits["day_turns_at"])
    assert (turns.hour, turns.minute, turns.second, turns.utcoffset()) == (0, 0, 0, timedelta(0))
    assert timedelta(0) < turns - datetime.now(UTC) <= timedelta(days=1)


async def test_nothing_remains_of_a_limit_that_was_lowered_below_its_use(desk: Desk) -> None:
    """What remains is never negative."""
    async with desk.transaction() as session:
        await session.execute(update(Partner).values(outstanding=10, total_borrow_limit=4))
    assert (await _me(desk))["limits"]["total"] == {"limit": "4", "used": "10", "reserved": "0", "remaining": "0"}


async def test_stats_of_a_new_partner_are_zero(desk: Desk) -> None:
    """Every status is named, and every figure is there."""
    found = await _stats(desk)
    assert found["loans"] == {str(status): 0 for status in LoanStatus}
    assert [found[name] for name in ("borrowed", "fees", "outstanding", "written_off")] == ["0"] * 4
    assert found["repaid"] == {"repayments": 0, "principal": "0", "interest": "0", "residue": "0"}
    assert found["refused"] == []


async def test_stats_count_what_came_about_and_not_what_did_not(desk: Desk) -> None:
    """Loans by status; principal that was on chain, without what was reversed; fees that were kept; repayments; refusals."""
    other = await new_partner(desk.transaction, "zeta")
    await crowd(desk.transaction, "acme", 6)
    await crowd(desk.transaction, "zeta", 9)
    async with desk.transaction() as session:
        loans = update(Loan).where(Loan.partner_id == "acme")
        await session.execute(loans.values(activated_at=datetime.now(UTC)))
        await session.execute(
            loans.where(Loan.partner_loan_id == "L1").values(
                status=LoanStatus.REVERSED, outstanding=0, activated_at=None
            )
        )
        await session.execute(
            loans.where(Loan.partner_loan_id == "L2").values(
                status=LoanStatus.FAILED, outstanding=0, activated_at=None, borrow_tx_hash=None
            )
        )
        await session.execute(
            loans.where(Loan.partner_loan_id == "L4").values(
                status=LoanStatus.LIQUIDATED, outstanding=0, written_off=400
            )
        )
        for number, state in ((3, RepaymentState.APPLIED), (6, RepaymentState.APPLIED), (5, RepaymentState.FAILED)):
            session.add(_repayment(number, state))
    found = await _stats(desk)
    counted = {status: number for status, number in found["loans"].items() if number}
    assert counted == {"REVERSED": 1, "FAILED": 1, "REPAID": 2, "LIQUIDATED": 1, "ACTIVE": 1}
    assert (found["borrowed"], found["fees"]) == ("4000", "20")
    assert (found["outstanding"], found["written_off"]) == ("1000", "400")
    assert found["repaid"] == {"repayments": 2, "principal": "2000", "interest": "14", "residue": "2"}
    assert found["refused"] == [
        {"kind": "BORROW", "code": "ltv_exceeded", "count": 4},
        {"kind": "BORROW", "code": "grant_required", "count": 2},
    ]
    assert sum((await _stats(desk, other.key))["loans"].values()) == 9


def _repayment(number: int, state: RepaymentState) -> Repayment:
    """Of a whole loan of the crowd, with 7 of interest, one of both paid by the platform."""
    applied = state is RepaymentState.APPLIED
    return Repayment(
        id=f"rep-{number}",
        operation_id=f"borrow:acme:k{number}",
        loan_id=f"loan_acme{number:08d}",
        partner_id="acme",
        mode=RepaymentMode.PULL,
        payoff=True,
        state=state,
        holds_loan=False,
        collected=1_006 if applied else 0,
        principal=1_000 if applied else 0,
        interest=7 if applied else 0,
        residue=1 if applied else 0,
    )


async def test_me_asks_for_the_scope_to_read(desk: Desk) -> None:
    """Without a key it is 401, and with one that may only borrow 403."""
    async with desk.transaction() as session:
        borrower = await issue_key(session, partner_id="acme", mode="sandbox", scopes=[Scope.BORROW])
    for path in ("/v1/me", "/v1/me/stats"):
        problem(await desk.http.get(path), 401, "api_key_missing")
        problem(await desk.get(path, key=borrower.key), 403, "scope_missing")
