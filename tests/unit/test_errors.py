"""Refusals: each can be told apart, acted on, stored and sent."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import (
    AdministrationRefused,
    Conflict,
    InvariantBroken,
    NotAllowed,
    NotFound,
    OrderRefused,
    RefusalPayload,
    Refused,
    RuleBroken,
    TotalLimitExceeded,
    every_refusal,
)

KINDS = (NotAllowed, NotFound, Conflict, RuleBroken)
REFUSALS = every_refusal()


def leaves(kind: type[Refused]) -> list[type[Refused]]:
    below = kind.__subclasses__()
    return [leaf for each in below for leaf in leaves(each)] if below else [kind]


@pytest.fixture(params=REFUSALS, ids=lambda kind: kind.code)
def refusal(request: pytest.FixtureRequest) -> type[Refused]:
    kind: type[Refused] = request.param
    return kind


def test_every_leaf_is_found() -> None:
    """The document of the API and the table of the docs leave none out, name no branch, and nothing that only operators meet."""
    ours = {leaf for leaf in leaves(Refused) if leaf.__module__.startswith("models.")}
    assert sorted(REFUSALS, key=str) == sorted(ours - set(leaves(OrderRefused)), key=str)


def test_codes_are_unique() -> None:
    """Two refusals with one code could not be told apart."""
    codes = [kind.code for kind in REFUSALS]
    assert len(codes) == len(set(codes))
    assert codes == sorted(codes)


def test_a_code_is_the_end_of_a_url(refusal: type[Refused]) -> None:
    """Lower-case words, joined by underscores."""
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", refusal.code)


def test_a_title_is_a_short_sentence(refusal: type[Refused]) -> None:
    """A title opens with a capital and ends without a full stop, as RFC 9457's own examples do."""
    assert refusal.title[0].isupper()
    assert not refusal.title.endswith(".")


def test_a_status_fits_its_kind(refusal: type[Refused]) -> None:
    """Every refusal of a partner's is of one of the four kinds; one of an administrator's says itself which client error it is."""
    if issubclass(refusal, AdministrationRefused):
        assert refusal.status in {kind.status for kind in KINDS}
        return
    (kind,) = (each for each in KINDS if issubclass(refusal, each))
    assert refusal.status in {kind.status, RuleBroken.status}


@given(st.data())
def test_a_refusal_survives_the_way(data: st.DataObject) -> None:
    """Stored as JSON and read back, a refusal is the same; its figures are strings, and its sentence says something."""
    refused = data.draw(st.sampled_from(REFUSALS).flatmap(st.builds))
    payload = refused.payload()
    assert RefusalPayload.model_validate_json(payload.model_dump_json()) == payload
    assert (payload.code, payload.status, payload.title) == (refused.code, refused.status, refused.title)
    assert payload.detail == str(refused)


def test_a_refusal_carries_its_figures() -> None:
    """A partner's code reads base units as strings, and its engineer reads a sentence."""
    payload = TotalLimitExceeded(limit=200_000_000, remaining=1_500_000, requested=2_000_000).payload()
    assert payload.figures == {"limit": "200000000", "remaining": "1500000", "requested": "2000000"}
    assert payload.detail == "1.50 of 200.00 USDC remain until loans are repaid; 2.00 were asked for."


def test_a_broken_invariant_is_no_refusal() -> None:
    """A bug is retried and shown to a person, and never told to a partner as a rule."""
    assert not issubclass(InvariantBroken, Refused)
