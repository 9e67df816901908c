"""What an operator asked for and the rows or the chain do not allow."""

from models.errors.tree import OrderRefused


class HoldNotResolvable(OrderRefused):
    code = "hold_not_resolvable"
    title = "The leg cannot leave HELD like this"

    def __init__(self, why: str) -> None:
        super().__init__(f"{why} Nothing was changed.")


class NotTheLanesOwn(OrderRefused):
    code = "not_the_lanes_own"
    title = "The operation has a workflow, which resolves its holds"

    def __init__(self, operation_id: str) -> None:
        super().__init__(f"{operation_id} is not the lane's own. Send the update 'resolve_hold' to its workflow.")


class IncidentNotOpen(OrderRefused):
    code = "incident_not_open"
    title = "No such incident is open"

    def __init__(self, incident_id: str) -> None:
        super().__init__(f"No incident {incident_id} is open. 'review' lists those that are.")


class SignerUnknown(OrderRefused):
    code = "signer_unknown"
    title = "No lane has run for this signer"

    def __init__(self, address: str) -> None:
        super().__init__(f"The engine has no signer {address} on this chain.")


class SignerHasHeldLegs(OrderRefused):
    code = "signer_has_held_legs"
    title = "A leg of the signer is HELD"

    def __init__(self, legs: list[str]) -> None:
        named = ", ".join(legs)
        super().__init__(
            f"Resolve the holds of {named} first, or say that the signer shall go on despite them. Nothing was changed.",
            legs=named,
        )
