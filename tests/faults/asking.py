"""How a partner asks: the same request again and again until it is decided; and what it was told, kept to be compared."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from models.ids import defaulted_key, operation_id
from models.statuses import OperationKind
from tests.engine import Borrower, PartnerAccount

AGAIN_SECONDS = 1
NOT_DECIDED = frozenset({408, 429, 500, 502, 503, 504})
"""Answers that decide nothing: the partner asks again. A 500 among them is a breach of its own, and is counted."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request that moves money. Sent again it is the same one, byte by byte."""

    partner: PartnerAccount
    kind: OperationKind
    path: str
    body: Mapping[str, Any]
    key: str

    @classmethod
    def borrow(cls, partner: PartnerAccount, borrower: Borrower, amount: int, key: str | None = None) -> "Request":
        name = f"loan-{borrower.line.credit_line_id}"
        body = {
            "oaid_token_id": str(borrower.line.credit_line_id),
            "user_wallet": borrower.user.address,
            "amount": str(amount),
            "partner_loan_id": name,
        }
        return cls(partner, OperationKind.BORROW, "/v1/loans", body, key or defaulted_key(name))

    @classmethod
    def repay(cls, partner: PartnerAccount, partner_loan_id: str, body: Mapping[str, Any], key: str) -> "Request":
        return cls(partner, OperationKind.REPAY, f"/v1/loans/{partner_loan_id}/repayments", body, key)

    @property
    def operation_id(self) -> str:
        return operation_id(self.kind, self.partner.id, self.key)

    @property
    def headers(self) -> dict[str, str]:
        named = {} if "~" in self.key else {"Idempotency-Key": self.key}
        return {**self.partner.headers, **named}


@dataclass(frozen=True, slots=True)
class Told:
    """A decided answer, without what may differ between two answers to one request."""

    status: int
    code: str | None
    operation_id: str | None
    terms: Mapping[str, Any]

    @classmethod
    def of(cls, answer: httpx.Response) -> "Told":
        body = answer.json()
        terms = {name: body.get(name) for name in ("loan_id", "quote", "repayment_id", "amount", "figures")}
        return cls(answer.status_code, body.get("code"), body.get("operation_id"), terms)

    @property
    def accepted(self) -> bool:
        return self.status == httpx.codes.ACCEPTED

    @property
    def conflicts(self) -> bool:
        """The key is another request's: this one is none of the engine's operations."""
        return self.code == "idempotency_key_reused"


@dataclass
class Partners:
    """All that partners asked and were told, through one door after the other."""

    doors: Sequence[httpx.AsyncClient]
    told: list[tuple[Request, Told]] = field(default_factory=list)
    asked: int = 0
    repeats: int = 0
    failures: list[str] = field(default_factory=list)
    """Answers with 500: the engine may be away, and it may not be wrong."""

    async def ask(self, request: Request) -> Told:
        """The decision, whatever it takes to hear of it."""
        self.asked += 1
        number = self.asked
        while True:
            answer = await self._once(request, number)
            if answer is not None and _is_decided(answer):
                told = Told.of(answer)
                self.told.append((request, told))
                return told
            self._note(request, answer)
            number += 1
            await asyncio.sleep(AGAIN_SECONDS)

    async def look(self, partner: PartnerAccount, path: str) -> httpx.Response:
        return await self.doors[0].get(path, headers=partner.headers)

    async def _once(self, request: Request, number: int) -> httpx.Response | None:
        door = self.doors[number % len(self.doors)]
        try:
            return await door.post(request.path, json=request.body, headers=request.headers)
        except httpx.TransportError:
            return None

    def _note(self, request: Request, answer: httpx.Response | None) -> None:
        self.repeats += 1
        if answer is not None and answer.status_code == httpx.codes.INTERNAL_SERVER_ERROR:
            self.failures.append(f"{request.operation_id} was answered with 500: {answer.text}")


def _is_decided(answer: httpx.Response) -> bool:
    return answer.status_code not in NOT_DECIDED and answer.json().get("decision") != "pending"
