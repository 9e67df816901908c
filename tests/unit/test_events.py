"""The catalog of events is whole, and its examples are what it says."""

import pytest

from models.events.catalog import CATALOG
from models.statuses import EventType


def test_every_event_of_partners_is_in_the_catalog() -> None:
    """Only incidents are told to operators alone."""
    assert set(CATALOG) == set(EventType) - {EventType.INCIDENT_OPENED}


@pytest.mark.parametrize("kind", CATALOG)
def test_an_example_is_of_its_model(kind: EventType) -> None:
    """No example has a field that its model does not know, or lacks one that it must have."""
    told = CATALOG[kind]
    assert set(told.example) <= set(told.model.model_fields)
    envelope = told.envelope(kind)
    assert envelope.type is kind
    assert told.model.model_validate(envelope.data).model_dump(mode="json") == envelope.data
