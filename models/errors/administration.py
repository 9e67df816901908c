"""What an administrator asks for and cannot have: no partner ever meets one of these."""

from models.errors.tree import Refused


class AdministrationRefused(Refused):
    """The root of what the admin API and its commands refuse; a command prints the sentence and ends with status 1."""


class TermsInvalid(AdministrationRefused):
    code = "terms_invalid"
    title = "What was asked for cannot be stored"
    status = 422


class PartnerNotFound(AdministrationRefused):
    code = "partner_not_found"
    title = "There is no such partner"
    status = 404

    def __init__(self, partner_id: str) -> None:
        super().__init__(f"There is no partner '{partner_id}'.")


class PartnerExists(AdministrationRefused):
    code = "partner_exists"
    title = "There is such a partner already"
    status = 409

    def __init__(self, partner_id: str) -> None:
        super().__init__(f"There is a partner '{partner_id}' already. GET shows it, and PATCH changes it.")


class SettlementAddressInvalid(AdministrationRefused):
    code = "settlement_address_invalid"
    title = "No partner can be paid at this address"
    status = 422

    def __init__(self, address: str) -> None:
        super().__init__(f"{address} is no settlement address: it is the engine's own, or nobody's.")


class SettlementAddressTaken(AdministrationRefused):
    code = "settlement_address_taken"
    title = "The settlement address belongs to a partner already"
    status = 409

    def __init__(self, address: str, partner_id: str) -> None:
        super().__init__(
            f"{address} belongs to partner '{partner_id}', for ever, or is about to. Ask for an address that is new.",
            partner_id=partner_id,
        )


class SettlementAddressUnchanged(AdministrationRefused):
    code = "settlement_address_unchanged"
    title = "It is the partner's settlement address already"
    status = 409

    def __init__(self, address: str) -> None:
        super().__init__(f"The partner is paid at {address} already.")


class SettlementChangeOpen(AdministrationRefused):
    code = "settlement_change_open"
    title = "Another change of the settlement address is open"
    status = 409

    def __init__(self, change_id: str) -> None:
        super().__init__(f"Change {change_id} of this partner is open. Cancel it first.", change_id=change_id)


class SettlementChangeNotFound(AdministrationRefused):
    code = "settlement_change_not_found"
    title = "There is no such change of the settlement address"
    status = 404

    def __init__(self, change_id: str) -> None:
        super().__init__(f"This partner has no change '{change_id}' of its settlement address.")


class SettlementChangeOver(AdministrationRefused):
    code = "settlement_change_over"
    title = "The change of the settlement address is past this"
    status = 409

    def __init__(self, change_id: str, state: str) -> None:
        super().__init__(f"Change {change_id} is {state}.", state=state)


class SecondAdministratorNeeded(AdministrationRefused):
    code = "second_administrator_needed"
    title = "A second person must approve it"
    status = 403

    def __init__(self) -> None:
        super().__init__(
            "Whoever requested the change cannot approve it, nor can an administrator who has ever had a key from the same hand "
            "as the other: who issues a key has seen it. Keys issued by command are from nobody's hand."
        )


class KeyNotFound(AdministrationRefused):
    code = "key_not_found"
    title = "There is no such key"
    status = 404

    def __init__(self, key_id: str) -> None:
        super().__init__(f"There is no key '{key_id}' here.")


class KeyOver(AdministrationRefused):
    code = "key_over"
    title = "The key was revoked or has expired"
    status = 409

    def __init__(self, key_id: str) -> None:
        super().__init__(f"Key {key_id} was revoked or has expired. Issue a new one.")


class SigningNotConfigured(AdministrationRefused):
    code = "signing_not_configured"
    title = "This deployment seals no signing secrets"
    status = 409

    def __init__(self) -> None:
        super().__init__(
            "A signing secret is kept sealed, and this deployment has no sealing key. Set ENGINE_SEALING_KEY, or leave out "
            "with_signing_secret and must_sign."
        )


class SigningSecretMissing(AdministrationRefused):
    code = "signing_secret_missing"
    title = "The key has no signing secret"
    status = 409

    def __init__(self, key_id: str) -> None:
        super().__init__(f"Key {key_id} has no secret to sign with. Rotate it with with_signing_secret.")


class AdministratorNotFound(AdministrationRefused):
    code = "administrator_not_found"
    title = "There is no such administrator"
    status = 404

    def __init__(self, administrator_id: str) -> None:
        super().__init__(f"There is no administrator '{administrator_id}'.")


class AdministratorExists(AdministrationRefused):
    code = "administrator_exists"
    title = "There is an administrator of that name already"
    status = 409

    def __init__(self, name: str) -> None:
        super().__init__(f"There is an administrator '{name}' already, and names are never given again.")


class AdministratorDisabled(AdministrationRefused):
    code = "administrator_disabled"
    title = "The administrator is disabled"
    status = 409

    def __init__(self, administrator_id: str) -> None:
        super().__init__(
            f"Administrator {administrator_id} is disabled: it gets no key, and no change of a settlement address."
        )


class LastAdministrator(AdministrationRefused):
    code = "last_administrator"
    title = "Nobody else administers the engine"
    status = 409

    def __init__(self, administrator_id: str) -> None:
        super().__init__(f"{administrator_id} is the last administrator who is not disabled. Create another one first.")
