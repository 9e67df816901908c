"""The request log: what is kept of each call, what never is, and that no answer leaves without its row."""

import json
from collections.abc import Sequence

from sqlalchemy import select

from models.redaction import GONE
from models.tables.requests import RequestLog
from tests.api.desk import Desk

SECRET = "whsec_" + "Zm9v" * 8


async def rows(desk: Desk) -> Sequence[RequestLog]:
    async with desk.transaction() as session:
        return (await session.scalars(select(RequestLog).order_by(RequestLog.at, RequestLog.id))).all()


async def newest(desk: Desk) -> RequestLog:
    return (await rows(desk))[-1]


async def test_an_authenticated_call_is_kept_with_whose_it_is_and_what_became_of_it(desk: Desk) -> None:
    """Partner, key, route, status, addresses and bodies of a grant are in its row."""
    answer = await desk.grant()
    assert answer.status_code == 201, answer.text
    row = await newest(desk)
    assert (row.partner_id, row.key_prefix) == ("acme", desk.partner.key[: len(row.key_prefix or "")])
    assert (row.method, row.route, row.path, row.status, row.code) == ("POST", "/v1/grants", "/v1/grants", 201, None)
    assert row.api_key_id is not None
    assert (row.user_wallet, row.oaid_token_id) == (desk.user, desk.world.line.credit_line_id)
    assert (row.address, row.user_agent) == ("127.0.0.1", answer.request.headers["user-agent"])
    assert row.duration_us > 0
    assert row.request_body is not None
    kept = json.loads(row.request_body)
    assert kept == {**json.loads(answer.request.content), "signature": GONE}
    assert row.response_body == answer.text
