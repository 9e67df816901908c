"""Webhook endpoints and events: what a partner may set up, and what is there."""

from models.errors.tree import Conflict, NotFound, RuleBroken


class WebhookUrlRefused(RuleBroken):
    code = "webhook_url_refused"
    title = "The engine does not send to this URL"

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"The URL cannot be a webhook's: {reason}. Give an https URL with a public host name, without user name, "
            "fragment or unusual port."
        )
        self.reason = reason


class WebhookEndpointNotFound(NotFound):
    code = "webhook_endpoint_not_found"
    title = "There is no such webhook endpoint"

    def __init__(self, endpoint_id: str) -> None:
        super().__init__(f"This partner has no webhook endpoint '{endpoint_id}'.")


class TooManyWebhookEndpoints(Conflict):
    code = "too_many_webhook_endpoints"
    title = "The partner has as many webhook endpoints as it may have"

    def __init__(self, most: int) -> None:
        super().__init__(f"A partner may have {most} webhook endpoints. Delete one first.", most=most)


class WebhookEndpointDisabled(Conflict):
    code = "webhook_endpoint_disabled"
    title = "The webhook endpoint is disabled"

    def __init__(self, endpoint_id: str) -> None:
        super().__init__(f"Nothing is sent to webhook endpoint '{endpoint_id}' until it is enabled again.")


class EventNotFound(NotFound):
    code = "event_not_found"
    title = "There is no such event"

    def __init__(self, event_id: str) -> None:
        super().__init__(f"This partner has no event '{event_id}'.")
