"""Endpoints and events over the API: a secret shown once, hostile URLs refused, another partner's not there, and what is sent again."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from models.statuses import DeliveryState, EventType
from models.tables.operations import Event
from tests.api.desk import served
from tests.engine import until
from tests.webhooks.desk import Desk
from tests.webhooks.partner import Partner, since_yesterday
from tests.webhooks.receiver import receiving


async def test_an_endpoint_shows_its_secret_once(partner: Partner) -> None:
    """When it is made, and never again; the row holds it sealed."""
    made = await partner.endpoint("https://hooks.example.com/a", event_types=["loan.repaid", "loan.borrowed"])
    assert made["secret"].startswith("whsec_")
    assert made["event_types"] == ["loan.borrowed", "loan.repaid"]
    for path in ("", f"/{made['endpoint_id']}"):
        answer = await partner.ask("GET", f"/webhook-endpoints{path}")
        assert "whsec_" not in answer.text
    row = await partner.desk.endpoint_row(made["endpoint_id"])
    assert row.secret is not None
    assert made["secret"].encode() not in row.secret


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("https://169.254.169.254/latest/meta-data", "link-local"),
        ("https://user@hooks.example.com/", "user name"),
        ("https://0x7f.1/", "unusual spelling"),
        ("ftp://hooks.example.com/", "https"),
        ("https://[::ffff:127.0.0.1]/", "IPv4-mapped"),
    ],
)
async def test_a_hostile_url_is_refused_when_it_is_set_up(partner: Partner, url: str, why: str) -> None:
    """By its form; where its name leads is checked at every try."""
    answer = await partner.ask("POST", "/webhook-endpoints", json={"url": url})
    assert (answer.status_code, answer.json()["code"]) == (422, "webhook_url_refused")
    assert why in answer.json()["detail"]
    made = await partner.endpoint("https://hooks.example.com/")
    changed = await partner.ask("PATCH", f"/webhook-endpoints/{made['endpoint_id']}", json={"url": url})
    assert changed.json()["code"] == "webhook_url_refused"
    assert (await partner.made("GET", f"/webhook-endpoints/{made['endpoint_id']}"))[
        "url"
    ] == "https://hooks.example.com/"


async def test_an_endpoint_changes_and_goes(partner: Partner) -> None:
    """Each field by itself; disabled and enabled; and gone, which a second delete says."""
    made = await partner.endpoint("https://hooks.example.com/", description="first")
    path = f"/webhook-endpoints/{made['endpoint_id']}"
    changed = await partner.made("PATCH", path, json={"event_types": ["loan.failed"], "description": None})
    assert (changed["url"], changed["event_types"], changed["description"]) == (made["url"], ["loan.failed"], None)
    disabled = await partner.made("POST", f"{path}/disable")
    assert (disabled["state"], disabled["disabled_because"]) == ("DISABLED", "PARTNER")
    enabled = await partner.made("POST", f"{path}/enable")
    assert (enabled["state"], enabled["disabled_because"]) == ("ENABLED", None)
    assert await partner.made("DELETE", path) is None
    assert (await partner.ask("DELETE", path)).json()["code"] == "webhook_endpoint_not_found"
    assert await partner.made("GET", "/webhook-endpoints") == {"endpoints": []}


async def test_a_partner_has_ten_endpoints_at_most(partner: Partner) -> None:
    """One that was deleted does not count."""
    made = [await partner.endpoint(f"https://hooks.example.com/{number}") for number in range(10)]
    refused = await partner.ask("POST", "/webhook-endpoints", json={"url": "https://hooks.example.com/11"})
    assert (refused.status_code, refused.json()["code"]) == (409, "too_many_webhook_endpoints")
    await partner.made("DELETE", f"/webhook-endpoints/{made[0]['endpoint_id']}")
    await partner.endpoint("https://hooks.example.com/11")


async def test_another_partners_things_are_not_there(partner: Partner, other: Partner) -> None:
    """Neither an endpoint nor an event can be seen, changed or sent by anybody else."""
    endpoint = (await partner.endpoint("https://hooks.example.com/"))["endpoint_id"]
    event = await partner.desk.event()
    asked: list[tuple[str, str, dict[str, Any]]] = [
        ("GET", f"/webhook-endpoints/{endpoint}", {}),
        ("PATCH", f"/webhook-endpoints/{endpoint}", {"json": {"event_types": []}}),
        ("DELETE", f"/webhook-endpoints/{endpoint}", {}),
        ("GET", f"/webhook-endpoints/{endpoint}/attempts", {}),
        ("GET", f"/events/{event}", {}),
        ("POST", f"/events/{event}/redeliver", {}),
        ("GET", f"/events?cursor={event}", {}),
        ("POST", f"/webhook-endpoints/{endpoint}/redeliver", {"json": since_yesterday()}),
        *(
            ("POST", f"/webhook-endpoints/{endpoint}/{act}", {})
            for act in ("enable", "disable", "test", "rotate-secret")
        ),
    ]
    for method, path, given in asked:
        answer = await other.ask(method, path, **given)
        assert answer.status_code == 404, (method, path, answer.text)
    assert (await other.made("GET", "/events"))["events"] == []
    assert (await partner.made("GET", f"/webhook-endpoints/{endpoint}"))["state"] == "ENABLED"


async def test_events_are_read_on_from_the_last_one(partner: Partner) -> None:
    """In their order, each once, and the cursor goes on working when there is nothing new."""
    made = [await partner.desk.event() for _ in range(5)]
    first = await partner.made("GET", "/events?limit=3")
    assert [event["id"] for event in first["events"]] == made[:3]
    rest = await partner.made("GET", f"/events?limit=3&cursor={first['next_cursor']}")
    assert [event["id"] for event in rest["events"]] == made[3:]
    nothing = await partner.made("GET", f"/events?cursor={rest['next_cursor']}")
    assert nothing == {"events": [], "next_cursor": made[-1]}
    later = await partner.desk.event()
    new = await partner.made("GET", f"/events?cursor={nothing['next_cursor']}")
    assert [event["id"] for event in new["events"]] == [later]


async def test_events_are_found_by_what_they_are_about(partner: Partner) -> None:
    """By type, loan, operation and time."""
    borrowed, failed = await partner.desk.event(), await partner.desk.event(EventType.LOAN_FAILED)
    operation, loan = await partner.desk.operation_of(failed)
    future = (datetime.now(UTC) + timedelta(hours=1)).isoformat().replace("+", "%2B")
    for query, found in (
        ("type=loan.borrowed", [borrowed]),
        ("type=loan.failed&type=loan.borrowed", [borrowed, failed]),
        (f"loan_id={loan.id}", [failed]),
        (f"operation_id={operation.id}", [failed]),
        (f"from={future}", []),
        (f"to={future}", [borrowed, failed]),
    ):
        page = await partner.made("GET", f"/events?{query}")
        assert [event["id"] for event in page["events"]] == found, query
    assert (await partner.ask("GET", "/events?type=incident.opened")).status_code == 422


async def test_a_test_is_a_signed_ping_that_is_tried_once(partner: Partner) -> None:
    """Also of an endpoint that is disabled, which it neither enables nor counts against."""
    desk = partner.desk
    async with receiving(behave=lambda number: 500 if number == 1 else 200) as receiver, desk.delivering():
        made = await partner.endpoint(receiver.url)
        receiver.secrets.append(made["secret"])
        path = f"/webhook-endpoints/{made['endpoint_id']}"
        failed = (await partner.made("POST", f"{path}/test"))["event_id"]
        await until(partial(desk.is_in, failed, made["endpoint_id"], DeliveryState.FAILED))
        assert (await partner.made("GET", path))["failing_since"] is None
        await partner.made("POST", f"{path}/disable")
        succeeded = (await partner.made("POST", f"{path}/test"))["event_id"]
        await until(partial(desk.is_in, succeeded, made["endpoint_id"], DeliveryState.DELIVERED))
        attempts = (await partner.made("GET", f"{path}/attempts"))["attempts"]
    assert receiver.types() == ["ping", "ping"]
    assert [(each["event_id"], each["status"], each["answer"]) for each in attempts] == [
        (succeeded, 200, "thanks"),
        (failed, 500, "thanks"),
    ]


async def test_a_rotated_secret_signs_beside_the_old_one(partner: Partner) -> None:
    """A receiver that knows either verifies; the new one is shown once, and until when the old one counts."""
    desk = partner.desk
    async with receiving() as receiver, desk.delivering():
        made = await partner.endpoint(receiver.url)
        rotated = await partner.made("POST", f"/webhook-endpoints/{made['endpoint_id']}/rotate-secret")
        assert rotated["secret"] != made["secret"]
        assert datetime.fromisoformat(rotated["previous_secret_expires_at"]) > datetime.now(UTC)
        for secret in (made["secret"], rotated["secret"]):
            receiver.secrets[:] = [secret]
            event = await desk.event()
            await until(partial(desk.is_in, event, made["endpoint_id"], DeliveryState.DELIVERED))
    assert [each.verified for each in receiver.received] == [True, True]


async def test_what_was_missed_is_sent_again_in_one_call(partner: Partner) -> None:
    """What happened while an endpoint was disabled, and before it was there, once and no more; what arrived does not come again."""
    desk = partner.desk
    before = await desk.event()
    async with receiving() as receiver, desk.delivering():
        made = await partner.endpoint(receiver.url, event_types=["loan.borrowed"])
        path = f"/webhook-endpoints/{made['endpoint_id']}"
        arrived = await desk.event()
        await until(partial(desk.is_in, arrived, made["endpoint_id"], DeliveryState.DELIVERED))
        await partner.made("POST", f"{path}/disable")
        missed = [await desk.event() for _ in range(3)]
        await desk.event(EventType.LOAN_FAILED)
        refused = await partner.ask("POST", f"{path}/redeliver", json=since_yesterday())
        assert (refused.status_code, refused.json()["code"]) == (409, "webhook_endpoint_disabled")
        await until(partial(_is_fanned_out, desk, missed[-1]))
        await partner.made("POST", f"{path}/enable")
        sent = await partner.made("POST", f"{path}/redeliver", json=since_yesterday())
        assert sent == {"deliveries": 4, "more": False}
        for event in (before, *missed):
            await until(partial(desk.is_in, event, made["endpoint_id"], DeliveryState.DELIVERED))
        assert (await partner.made("POST", f"{path}/redeliver", json=since_yesterday()))["deliveries"] == 0
    assert sorted(each.event["id"] for each in receiver.received) == sorted([before, arrived, *missed])


async def test_one_event_is_sent_again_with_its_own_id(partner: Partner) -> None:
    """To all endpoints that want it, or to one; a receiver can tell by the id that it knows it."""
    desk = partner.desk
    async with receiving() as receiver, receiving() as another, desk.delivering():
        first, second = await partner.endpoint(receiver.url), await partner.endpoint(another.url)
        event = await desk.event()
        for endpoint in (first, second):
            await until(partial(desk.is_in, event, endpoint["endpoint_id"], DeliveryState.DELIVERED))
        sent = await partner.made("POST", f"/events/{event}/redeliver?endpoint_id={first['endpoint_id']}")
        assert sent["deliveries"] == 1
        await until(partial(receiver.has, 2))
        assert (await partner.made("POST", f"/events/{event}/redeliver"))["deliveries"] == 2
        await until(partial(another.has, 2))
        await until(partial(receiver.has, 3))
        shown = await partner.made("GET", f"/events/{event}")
        assert [each["endpoint_id"] for each in shown["deliveries"]] == sorted(
            [first["endpoint_id"], second["endpoint_id"]]
        )
    assert {each.headers["webhook-id"] for each in (*receiver.received, *another.received)} == {event}


async def test_without_a_sealing_key_no_endpoint_is_set_up(partner: Partner) -> None:
    """Rather than keep a secret in the open."""
    settings = partner.desk.settings.model_copy(update={"sealing_key": None})
    async with served(settings) as http:
        answer = await replace(partner, http=http).ask(
            "POST", "/webhook-endpoints", json={"url": "https://hooks.example.com/"}
        )
    assert (answer.status_code, answer.json()["code"]) == (503, "webhooks_not_configured")


async def _is_fanned_out(desk: Desk, event_id: str) -> bool:
    async with desk.transaction() as session:
        return (await session.get_one(Event, event_id)).fanned_out_at is not None
