"""Administrators see partners' endpoints and act on them, each time with a record of who and why."""

from functools import partial

import pytest
from sqlalchemy import select

from api.keys import new_admin_key
from models.ids import new_id
from models.statuses import AdminActionKind, DeliveryState
from models.tables.administration import AdminAction, Administrator, AdminKey
from tests.engine import until
from tests.webhooks.partner import Partner, since_yesterday
from tests.webhooks.receiver import receiving


async def administrator(partner: Partner) -> dict[str, str]:
    """The headers of one."""
    key = new_admin_key("sandbox")
    async with partner.desk.transaction() as session:
        row = Administrator(id=new_id("adm"), name="Ada")
        session.add(row)
        await session.flush()
        hashed = key.hash(partner.desk.settings.key_pepper)
        session.add(AdminKey(id=new_id("adminkey"), administrator_id=row.id, prefix=key.prefix, secret_hash=hashed))
    return {"Authorization": f"Bearer {key.text}"}


@pytest.mark.parametrize("other", [False, True])
async def test_an_administrator_acts_on_a_partners_endpoint(partner: Partner, other: bool) -> None:
    """Seen without its secret, disabled, enabled, and sent to again; under another partner it is not there."""
    desk, headers = partner.desk, await administrator(partner)
    async with receiving() as receiver, desk.delivering():
        made = await partner.endpoint(receiver.url)
        event = await desk.event()
        await until(partial(desk.is_in, event, made["endpoint_id"], DeliveryState.DELIVERED))
        of = "nobody" if other else "acme"
        path = f"/v1/admin/partners/{of}/webhook-endpoints"
        seen = await partner.http.get(path, headers=headers)
        assert "whsec_" not in seen.text
        answers = [
            await partner.http.post(f"{path}/{made['endpoint_id']}/{act}", headers=headers, json=body)
            for act, body in (
                ("disable", {"reason": "it floods us"}),
                ("enable", {"reason": "it does not any more"}),
                ("redeliver", {**since_yesterday(), "delivered_too": True}),
            )
        ]
        answers.append(await partner.http.post(f"/v1/admin/partners/{of}/events/{event}/redeliver", headers=headers))
        if other:
            assert [answer.status_code for answer in (seen, *answers)] == [404] * 5
            return
        assert all(answer.is_success for answer in answers), [answer.text for answer in answers]
        assert (answers[0].json()["state"], answers[0].json()["disabled_because"]) == ("DISABLED", "ADMINISTRATOR")
        await until(partial(receiver.has, 2))
    async with desk.transaction() as session:
        actions = list(
            await session.scalars(select(AdminAction).where(AdminAction.actor == "Ada").order_by(AdminAction.id))
        )
    assert [(each.action, each.actor, each.subject) for each in actions] == [
        (AdminActionKind.DISABLE_WEBHOOK_ENDPOINT, "Ada", made["endpoint_id"]),
        (AdminActionKind.ENABLE_WEBHOOK_ENDPOINT, "Ada", made["endpoint_id"]),
        (AdminActionKind.REDELIVER_EVENTS, "Ada", made["endpoint_id"]),
        (AdminActionKind.REDELIVER_EVENTS, "Ada", event),
    ]
