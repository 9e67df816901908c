"""What PostgreSQL says of a row that it refuses quotes the row. None of that reaches a log, an error or a traceback."""

import traceback
from collections.abc import Iterator

import pytest
import structlog
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from models.tables.partners import ApiKey
from tests import factories as make
from tests.api.desk import Desk

SECRET_AMOUNT = "4242424242"


@pytest.fixture
def lines_of_json() -> Iterator[None]:
    """Exceptions as the processes write them: with their tracebacks, and without the values of variables."""
    structlog.configure(processors=[structlog.processors.format_exc_info, structlog.processors.JSONRenderer()])
    yield
    structlog.reset_defaults()


@pytest.mark.usefixtures("lines_of_json")
async def test_a_row_that_is_refused_is_not_quoted_in_the_log(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    """The constraint is named; amount, wallet, body and key are not."""
    async with desk.transaction() as session:
        await session.execute(
            text("ALTER TABLE operations ADD CONSTRAINT no_poison CHECK (partner_loan_id <> 'poison')")
        )
    answer = await desk.borrow(partner_loan_id="poison", amount=SECRET_AMOUNT)
    assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
    said = "".join(capsys.readouterr())
    assert r"violates check constraint \"no_poison\"" in said
    for secret in ("Failing row", "DETAIL", SECRET_AMOUNT, desk.user, desk.user.lower(), desk.partner.key, "~poison"):
        assert secret not in said
        assert secret not in answer.text


async def test_a_secret_that_is_there_already_is_not_quoted(desk: Desk) -> None:
    """Nor in the errors themselves, from which Temporal makes the failures of its histories."""
    with pytest.raises(IntegrityError) as refused:  # noqa: PT012 - the commit at the end is what refuses
        async with desk.transaction() as session:
            partner = await make.new_partner(session)
            for number in range(2):
                key = {"partner_id": partner.id, "prefix": "pk", "secret_hash": "of-a-secret", "scopes": []}
                session.add(ApiKey(id=f"key-{number}", **key))
    said = "".join(traceback.format_exception(refused.value))
    assert "uq_api_keys_secret_hash" in said
    assert "of-a-secret" not in said
    assert "of-a-secret" not in repr(refused.value.orig)
