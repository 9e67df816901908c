"""Ids: safe in a URL, and never two things under one."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from ulid import ULID

from models.ids import PUBLIC_ID_PATTERN, PublicId, defaulted_key, is_public_id, new_id, operation_id
from models.statuses import OperationKind

public_ids = st.from_regex(PUBLIC_ID_PATTERN.replace("$", r"\Z"))
keys = public_ids | public_ids.map(defaulted_key)
operations = st.tuples(st.sampled_from(OperationKind), public_ids, keys)
as_public_id = TypeAdapter(PublicId)


def is_accepted(value: str) -> bool:
    try:
        as_public_id.validate_python(value)
    except ValidationError:
        return False
    return True


@given(public_ids)
def test_a_public_id_is_safe_in_a_url(value: str) -> None:
    """Nothing in it needs to be escaped, and it is never longer than 64 characters."""
    assert is_public_id(value)
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,64}", value)


@given(st.text(max_size=70) | public_ids | public_ids.map(lambda value: f"{value}\n"))
def test_both_checks_agree(value: str) -> None:
    """What the API's models take is what the function takes, a line break at the end included."""
    assert is_public_id(value) == is_accepted(value)


@pytest.mark.parametrize("value", ["", ".a", "-a", "_a", "a b", "a:b", "a~b", "a/b", "a\n", "ä", "a" * 65])
def test_what_is_no_public_id(value: str) -> None:
    """Empty, too long, a mark in front, or a character that means something elsewhere."""
    assert not is_public_id(value)


@given(public_ids)
def test_a_defaulted_key_is_apart(partner_loan_id: str) -> None:
    """No key that a partner can send is the one that its loan id stands for."""
    assert not is_public_id(defaulted_key(partner_loan_id))


@given(operations, operations)
def test_an_operation_has_an_id_of_its_own(
    one: tuple[OperationKind, str, str], other: tuple[OperationKind, str, str]
) -> None:
    """Two operations that differ in kind, partner or key differ in their id."""
    assume(one != other)
    assert operation_id(*one) != operation_id(*other)


def test_how_an_operation_is_named() -> None:
    """Kind, partner and key, as the design says."""
    assert operation_id(OperationKind.BORROW, "acme", defaulted_key("L-1")) == "borrow:acme:loan~L-1"
    assert operation_id(OperationKind.REPAY, "acme", "key.1") == "repay:acme:key.1"


def test_a_new_id_says_when_it_was_made() -> None:
    """An id carries its prefix and its time, so that ids sort by age."""
    before = datetime.now(UTC) - timedelta(milliseconds=1)
    prefix, _, ulid = new_id("loan").partition("_")
    assert prefix == "loan"
    assert before <= ULID.from_str(ulid).datetime <= datetime.now(UTC)


def test_new_ids_differ() -> None:
    """A thousand ids made at once are a thousand ids, each fit to be shown."""
    made = {new_id("rep") for _ in range(1_000)}
    assert len(made) == 1_000
    assert all(map(is_public_id, made))
