"""The lists of loans: whole, in order, the partner's own, and found by an index however many there are."""

import re
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import func, select

from api.loan_list import LOANS, LoansQuery, loans_statement
from api.operation_list import OperationsQuery, operations_statement
from api.paging import Place
from models.statuses import LoanStatus, OperationKind, RepaymentMode, RepaymentState
from models.tables.loans import Loan, Repayment
from models.tables.operations import Operation
from tests.api.crowd import WALLETS, crowd, plan_of
from tests.api.desk import Desk, new_partner
from tests.api.test_requests import problem

MANY = 30_000
FEW = 60
WALLET = "0x" + "7".zfill(40)
MIDDLE = LOANS.cursor(Place(datetime(2026, 1, 1, 2, tzinfo=UTC), "loan_acme00014400"))


async def _walk(desk: Desk, path: str, name: str) -> list[dict[str, Any]]:
    """Everything on all pages."""
    seen: list[dict[str, Any]] = []
    cursor = ""
    while True:
        answer = await desk.get(f"{path}{cursor}")
        assert answer.status_code == 200, answer.text
        page = answer.json()
        seen += page[name]
        if page["next_cursor"] is None:
            return seen
        cursor = f"&cursor={page['next_cursor']}"


def _numbers(loans: list[dict[str, Any]]) -> list[int]:
    return [int(loan["partner_loan_id"].removeprefix("L")) for loan in loans]


QUERIES: dict[str, dict[str, Any]] = {
    "first": {},
    "later": {"cursor": MIDDLE},
    "largest": {"limit": 200, "cursor": MIDDLE},
    "wallet": {"user_wallet": WALLET},
    "wallet-later": {"user_wallet": WALLET, "cursor": MIDDLE},
    "line": {"oaid_token_id": "7"},
    "nobodys-wallet": {"user_wallet": "0x" + "ab" * 20},
    "status": {"status": ["ACTIVE"]},
    "rare-status": {"status": ["DEFAULTED"]},
    "status-without-loans": {"status": ["REVERSED"]},
    "statuses": {"status": ["DEFAULTED", "REPAID"], "cursor": MIDDLE},
    "every-status": {"status": list(LoanStatus)},
    "time": {"created_from": "2026-01-01T01:00:00Z", "created_to": "2026-01-01T02:00:00Z"},
}


async def test_a_page_reads_what_it_holds_and_never_the_table(desk: Desk) -> None:
    """Among tens of thousands of loans of two partners, every filter finds its page by an index and reads few rows."""
    await new_partner(desk.transaction, "zeta")
    for partner_id in ("acme", "zeta"):
        await crowd(desk.transaction, partner_id, MANY)
    async with desk.transaction() as session:
        for name, asked in QUERIES.items():
            query = LoansQuery.model_validate(asked)
            plan = await plan_of(session, loans_statement("acme", query))
            assert "Seq Scan" not in plan, f"{name}: {plan}"
            most = (query.limit + 1) * max(1, len(query.status)) + 1
            read = [int(float(rows)) for rows in re.findall(r"(?:actual rows=|Removed by Filter: )([\d.]+)", plan)]
            assert max(read) <= most, f"{name}: {plan}"
        for operations in ({}, {"kind": "BORROW"}, {"state": ["DONE"]}, {"kind": "REPAY"}, {"state": ["OPEN"]}):
            plan = await plan_of(session, operations_statement("acme", OperationsQuery.model_validate(operations)))
            assert "Seq Scan" not in plan, f"{operations}: {plan}"


async def test_all_pages_are_the_list_each_loan_once_newest_first(desk: Desk) -> None:
    """Page by page, also where two loans share their moment, every loan comes exactly once, and another partner's never."""
    await new_partner(desk.transaction, "zeta")
    await crowd(desk.transaction, "acme", FEW)
    await crowd(desk.transaction, "zeta", FEW)
    for size in (1, 7, 60, 200):
        found = await _walk(desk, f"/v1/loans?limit={size}", "loans")
        assert _numbers(found) == list(range(FEW, 0, -1))
        assert all(loan["loan_id"].startswith("loan_acme") for loan in found)


async def test_what_is_added_meanwhile_shifts_nothing(desk: Desk) -> None:
    """Loans made between two pages are not on the next one, which goes on exactly where the last one ended."""
    await crowd(desk.transaction, "acme", FEW)
    first = (await desk.get("/v1/loans?limit=20")).json()
    async with desk.transaction() as session:
        for number in range(10):
            await _copy_loan(session, f"new-{number}")
    second = (await desk.get(f"/v1/loans?limit=20&cursor={first['next_cursor']}")).json()
    assert _numbers(first["loans"] + second["loans"]) == list(range(FEW, FEW - 40, -1))
    newest = (await desk.get("/v1/loans?limit=10")).json()["loans"]
    assert {loan["partner_loan_id"] for loan in newest} == {f"new-{number}" for number in range(10)}


async def _copy_loan(session: Any, name: str) -> None:
    """Another loan like the first one, made now."""
    first = await session.get_one(Loan, "loan_acme00000003")
    of_it = await session.get_one(Operation, first.operation_id)
    session.add(
        Operation(
            id=f"borrow:acme:{name}",
            kind=OperationKind.BORROW,
            partner_id="acme",
            idempotency_key=name,
            fingerprint="f",
            state=of_it.state,
            decision=of_it.decision,
            decided_at=of_it.decided_at,
            done_at=of_it.done_at,
            refusal=of_it.refusal,
        )
    )
    await session.flush()
    same = {column.key: getattr(first, column.key) for column in Loan.__mapper__.column_attrs}
    fresh = {"id": f"loan_{name}", "operation_id": f"borrow:acme:{name}", "partner_loan_id": name}
    session.add(Loan(**{**same, **fresh, "created_at": func.now()}))
    await session.flush()


async def test_filters_narrow_the_list_together(desk: Desk) -> None:
    """Wallet, line, statuses and times each keep what they name, and several of them what all of them name."""
    await crowd(desk.transaction, "acme", FEW)
    every = await _walk(desk, "/v1/loans?limit=200", "loans")
    assert {loan["status"] for loan in every} == {"ACTIVE", "REPAID"}

    async def found(query: str) -> list[int]:
        return _numbers(await _walk(desk, f"/v1/loans?limit=3&{query}", "loans"))

    numbers = list(range(FEW, 0, -1))
    assert await found(f"user_wallet={WALLET}") == [57, 7]
    assert await found("oaid_token_id=7") == [57, 7]
    assert await found("status=REPAID") == [n for n in numbers if n % 3 == 0]
    assert await found("status=REPAID&status=ACTIVE&status=DEFAULTED") == numbers
    assert await found(f"status=REPAID&user_wallet={WALLET}") == [57]
    since, until = "2026-01-01T00:00:10Z", "2026-01-01T00:00:20Z"
    assert await found(f"created_from={since}&created_to={until}") == [n for n in numbers if 10 <= n // 2 < 20]
    assert await found(f"status=FAILED&user_wallet={WALLET}") == []
    assert len({loan["user_wallet"] for loan in every}) == WALLETS


WRONG = [
    ("cursor=x", "cursor"),
    ("cursor=", "cursor"),
    ("cursor=%00", "cursor"),
    ("cursor=operation.1.borrow:acme:x", "cursor"),
    ("cursor=loan.99999999999999999.loan_x", "cursor"),
    ("cursor=loan.-1.loan_x", "cursor"),
    ("cursor=loan.%D9%A3.loan_x", "cursor"),
    ("limit=0", "limit"),
    ("limit=201", "limit"),
    ("limit=x", "limit"),
    ("status=OPEN", "status.0"),
    ("user_wallet=0x12", "user_wallet"),
    ("oaid_token_id=-1", "oaid_token_id"),
    ("created_from=yesterday", "created_from"),
    ("created_to=2026-01-01", "created_to"),
    ("state=ACTIVE", "state"),
]


@pytest.mark.parametrize(("query", "parameter"), WRONG, ids=repr)
async def test_each_wrong_parameter_is_named(desk: Desk, query: str, parameter: str) -> None:
    """A cursor that is none, a filter that cannot be and one that is not there are 422, and say which it is."""
    found = problem(await desk.get(f"/v1/loans?{query}"), 422, "invalid_request")
    assert [error["parameter"] for error in found["errors"]] == [parameter]


async def test_the_edges_of_what_a_cursor_can_hold_are_pages(desk: Desk) -> None:
    """Whatever the document calls a cursor is a place in the list, before its first loan or behind its last."""
    await crowd(desk.transaction, "acme", 5)
    assert len((await desk.get("/v1/loans?cursor=loan.9999999999999999.z")).json()["loans"]) == 5
    assert (await desk.get("/v1/loans?cursor=loan.0.z")).json() == {"loans": [], "next_cursor": None}


async def test_operations_come_newest_first_with_their_filters(desk: Desk) -> None:
    """All pages are the list; kind and state narrow it; a refusal is shown as its problem; another partner's are not there."""
    other = await new_partner(desk.transaction, "zeta")
    await crowd(desk.transaction, "acme", FEW)
    pending = await desk.borrow()
    assert pending.status_code in (202, 503)
    found = await _walk(desk, "/v1/operations?limit=7", "operations")
    names = [operation["operation_id"] for operation in found]
    assert names == ["borrow:acme:loan~loan-1", *(f"borrow:acme:k{n}" for n in range(FEW, 0, -1))]
    assert (found[0]["state"], found[0]["problem"]) == ("RECEIVED", None)
    assert found[1]["problem"]["code"] == "grant_required"
    assert "timeline" not in found[1]
    received = await _walk(desk, "/v1/operations?state=RECEIVED&state=OPEN&kind=BORROW", "operations")
    assert [operation["operation_id"] for operation in received] == names[:1]
    assert await _walk(desk, "/v1/operations?kind=REPAY", "operations") == []
    assert (await desk.get("/v1/operations", key=other.key)).json()["operations"] == []
    for wrong in ("kind=SYSTEM", "state=x", "cursor=loan.1.x", "status=DONE"):
        problem(await desk.get(f"/v1/operations?{wrong}"), 422, "invalid_request")


async def test_a_loans_repayments_come_in_pages(desk: Desk) -> None:
    """Newest first, of this loan alone; a loan of another partner, or none, is 404."""
    other = await new_partner(desk.transaction, "zeta")
    await crowd(desk.transaction, "acme", FEW)
    async with desk.transaction() as session:
        for number in range(1, 6):
            session.add(_repayment(number, loan_number=1 if number < 5 else 2))
    found = await _walk(desk, "/v1/loans/L1/repayments?limit=3", "repayments")
    assert [each["repayment_id"] for each in found] == [f"rep-{number}" for number in (4, 3, 2, 1)]
    problem(await desk.get("/v1/loans/L1/repayments", key=other.key), 404, "loan_not_found")
    problem(await desk.get("/v1/loans/nobody/repayments"), 404, "loan_not_found")
    problem(await desk.get("/v1/loans/L1/repayments?cursor=loan.1.x"), 422, "invalid_request")


def _repayment(number: int, loan_number: int) -> Repayment:
    """Its operation is a borrow's, since the list does not ask."""
    return Repayment(
        id=f"rep-{number}",
        operation_id=f"borrow:acme:k{number}",
        loan_id=f"loan_acme{loan_number:08d}",
        partner_id="acme",
        mode=RepaymentMode.PULL,
        payoff=False,
        requested=1,
        state=RepaymentState.APPLIED,
        holds_loan=False,
        created_at=datetime(2026, 1, 1, 0, 0, number, tzinfo=UTC),
    )


async def test_the_lists_ask_for_the_scope_to_read(desk: Desk) -> None:
    """Without a key the lists are 401."""
    for path in ("/v1/loans", "/v1/operations", "/v1/loans/x/repayments"):
        problem(await desk.http.get(path), 401, "api_key_missing")
    async with desk.transaction() as session:
        assert await session.scalar(select(func.count()).select_from(Loan)) == 0
