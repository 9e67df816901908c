"""Names of things: one function for each kind of id, so that an id is built in one place only."""

import re
from typing import Annotated

from pydantic import StringConstraints
from ulid import ULID

from models.statuses import OperationKind

PUBLIC_ID_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
"""Partner, key and loan ids: safe in a URL, and free of the ``:`` and ``~`` that build operation ids (money.md section 1)."""

PublicId = Annotated[str, StringConstraints(pattern=PUBLIC_ID_PATTERN)]


def is_public_id(value: str) -> bool:
    return re.fullmatch(PUBLIC_ID_PATTERN, value) is not None


def defaulted_key(partner_loan_id: str) -> str:
    """The idempotency key of a borrow that names none; its ``~`` keeps it apart from every key that a partner can send."""
    return f"loan~{partner_loan_id}"


def operation_id(kind: OperationKind, partner_id: str, idempotency_key: str) -> str:
    """The id of an operation, which is also its Temporal workflow id."""
    return f"{kind.lower()}:{partner_id}:{idempotency_key}"


def leg_id(operation_id: str, leg: str, generation: int) -> str:
    """One generation of a leg, as incidents and operators name it."""
    return f"{operation_id}/{leg}/{generation}"


def new_id(prefix: str) -> str:
    """An opaque id that sorts by the time it was made, such as ``loan_01J…``."""
    return f"{prefix}_{ULID()}"
