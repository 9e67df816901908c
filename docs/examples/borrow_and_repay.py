"""A borrow and its repayment with a client that is generated from the API's own document. docs/partners.md says how to make it.

Run it beside the sandbox: `set -a; source var/sandbox/demo.env; python borrow_and_repay.py my-first-loan`.
"""

import os
import sys
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from eth_account import Account
from eth_account.messages import encode_typed_data
from loan_engine_client import AuthenticatedClient
from loan_engine_client.api.grants import create_grant, make_grant_typed_data
from loan_engine_client.api.loans import borrow, get_loan, repay
from loan_engine_client.api.operations import get_operation
from loan_engine_client.models import (
    BorrowBody,
    GrantBody,
    LoanStatus,
    OperationState,
    Problem,
    RepayAll,
    TypedDataBody,
)

Answer = TypeVar("Answer")
AMOUNT = "5000000000"
WAIT = 20


def main(partner_loan_id: str) -> None:
    client = AuthenticatedClient(base_url=os.environ["API_URL"], token=os.environ["PARTNER_KEY"])
    with client:
        consent(client)
        asked = borrow.sync(client=client, body=borrowing(partner_loan_id))
        finish(client, right(asked).operation_id)
        key = f"payoff-{partner_loan_id}"
        paid = repay.sync(partner_loan_id, client=client, body=RepayAll(payoff=True), idempotency_key=key)
        finish(client, right(paid).operation_id)
        loan = right(get_loan.sync(partner_loan_id, client=client))
        assert loan.status is LoanStatus.REPAID
        print(f"{loan.loan_id}: {loan.status}, {len(loan.repayments)} repayment")


def consent(client: AuthenticatedClient) -> None:
    """The user's wallet signs what the API says is to be signed."""
    fields = TypedDataBody(
        oaid_token_id=os.environ["USER_1_OAID_TOKEN_ID"],
        user_wallet=os.environ["USER_1_ADDRESS"],
        max_amount=AMOUNT,
        expires_at=(datetime.now(UTC) + timedelta(days=30)).replace(microsecond=0),
    )
    typed = right(make_grant_typed_data.sync(client=client, body=fields))
    signed = Account.sign_message(encode_typed_data(full_message=typed.to_dict()), os.environ["USER_1_KEY"])
    grant = GrantBody(
        oaid_token_id=fields.oaid_token_id,
        user_wallet=fields.user_wallet,
        max_amount=fields.max_amount,
        expires_at=fields.expires_at,
        nonce=typed.message.nonce,
        signature="0x" + bytes(signed.signature).hex(),
    )
    right(create_grant.sync(client=client, body=grant))


def borrowing(partner_loan_id: str) -> BorrowBody:
    return BorrowBody(
        oaid_token_id=os.environ["USER_1_OAID_TOKEN_ID"],
        user_wallet=os.environ["USER_1_ADDRESS"],
        amount=AMOUNT,
        partner_loan_id=partner_loan_id,
    )


def finish(client: AuthenticatedClient, operation_id: str) -> None:
    """Returns once the operation is done and went well."""
    while True:
        operation = right(get_operation.sync(operation_id, client=client, wait=WAIT))
        if isinstance(operation.problem, Problem):
            sys.exit(f"{operation_id}: {operation.problem.detail}")
        if operation.state is OperationState.DONE:
            print(f"{operation_id}: {', '.join(entry.leg for entry in operation.timeline)}")
            return


def right(answer: Answer | Problem | None) -> Answer:
    """What was asked for, or the end of the script with the sentence that says why not."""
    if isinstance(answer, Problem):
        sys.exit(f"{answer.code}: {answer.detail}")
    assert answer is not None, "an answer that the document does not declare"
    return answer


if __name__ == "__main__":
    main(sys.argv[1])
