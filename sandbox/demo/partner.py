"""The demo's partner: everything it does, it does through the REST API, as a lending platform would."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import httpx
from eth_account.messages import encode_typed_data
from eth_account.signers.local import LocalAccount

from api.answers import BorrowAnswer, GrantAnswer, LoanAnswer, OperationAnswer, PayoffAnswer, RepayAnswer
from contracts.funding import OpenedLine
from sandbox.errors import SandboxError

GRANT_LIFE = timedelta(days=30)
LOOK_SECONDS = 1
RECEIVER = "the demo's receiver"


class ProblemAnswered(SandboxError):
    """The API answered with a problem; its sentence says what is wrong."""

    def __init__(self, response: httpx.Response) -> None:
        request = response.request
        super().__init__(f"{request.method} {request.url.path} answered {response.status_code}: {_sentence(response)}")


def _sentence(response: httpx.Response) -> str:
    try:
        problem = response.json()
    except ValueError:
        return response.text
    return f"{problem.get('code')}: {problem.get('detail')}" if isinstance(problem, dict) else response.text


class PartnerClient:
    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    @classmethod
    @asynccontextmanager
    async def connect(cls, api_url: str, key: str) -> AsyncIterator["PartnerClient"]:
        headers = {"Authorization": f"Bearer {key}"}
        async with httpx.AsyncClient(base_url=api_url, headers=headers, timeout=30, trust_env=False) as http:
            yield cls(http)

    async def grant(self, line: OpenedLine, user: LocalAccount, max_amount: int) -> GrantAnswer:
        """The user's consent: the partner asks what is to be signed, the user's wallet signs it, the partner hands it in."""
        asked = {
            "oaid_token_id": str(line.credit_line_id),
            "user_wallet": line.user,
            "max_amount": str(max_amount),
            "expires_at": (datetime.now(UTC) + GRANT_LIFE).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        typed_data = await self._post("/v1/grants/typed-data", asked)
        signature = user.sign_message(encode_typed_data(full_message=typed_data)).signature
        signed = {**asked, "nonce": str(typed_data["message"]["nonce"]), "signature": f"0x{bytes(signature).hex()}"}
        return GrantAnswer.model_validate(await self._post("/v1/grants", signed))

    async def borrow(self, line: OpenedLine, amount: int, partner_loan_id: str) -> BorrowAnswer:
        asked = borrow_body(line, amount, partner_loan_id)
        return BorrowAnswer.model_validate(await self._post("/v1/loans", asked))

    async def pay_off(self, partner_loan_id: str, key: str) -> RepayAnswer:
        """All that is owed, pulled from the settlement address."""
        path = f"/v1/loans/{partner_loan_id}/repayments"
        return RepayAnswer.model_validate(await self._post(path, {"payoff": True}, {"Idempotency-Key": key}))

    async def operation(self, operation_id: str) -> OperationAnswer:
        """Where it stands: as soon as it is done, or a second from now."""
        path = f"/v1/operations/{quote(operation_id, safe='')}?wait={LOOK_SECONDS}"
        return OperationAnswer.model_validate(await self._get(path))

    async def loan(self, partner_loan_id: str) -> LoanAnswer:
        return LoanAnswer.model_validate(await self._get(f"/v1/loans/{partner_loan_id}"))

    async def payoff(self, partner_loan_id: str) -> PayoffAnswer:
        return PayoffAnswer.model_validate(await self._get(f"/v1/loans/{partner_loan_id}/payoff"))

    async def listen_at(self, url: str) -> tuple[str, str]:
        """Has events sent there and to no other receiver of the demo; the endpoint's id and its secret."""
        for known in (await self._get("/v1/webhook-endpoints"))["endpoints"]:
            if known["description"] == RECEIVER:
                await self.stop_listening(known["endpoint_id"])
        made = await self._post("/v1/webhook-endpoints", {"url": url, "description": RECEIVER})
        return made["endpoint_id"], made["secret"]

    async def stop_listening(self, endpoint_id: str) -> None:
        response = await self._http.delete(f"/v1/webhook-endpoints/{endpoint_id}")
        if not response.is_success:
            raise ProblemAnswered(response)

    async def _get(self, path: str) -> dict[str, Any]:
        return _json(await self._http.get(path))

    async def _post(self, path: str, body: dict[str, Any], headers: dict[str, str] | None = None) -> dict[str, Any]:
        return _json(await self._http.post(path, json=body, headers=headers))


def borrow_body(line: OpenedLine, amount: int, partner_loan_id: str) -> dict[str, str]:
    return {
        "oaid_token_id": str(line.credit_line_id),
        "user_wallet": line.user,
        "amount": str(amount),
        "partner_loan_id": partner_loan_id,
    }


def _json(response: httpx.Response) -> dict[str, Any]:
    if not response.is_success:
        raise ProblemAnswered(response)
    answer: dict[str, Any] = response.json()
    return answer
