"""What administrators do about partners, keys and grants: the admin API, the commands, the sandbox and the tests all call this.

Every function works inside the caller's transaction, commits nothing, and records its change in ``admin_actions``.
"""

from api.administration.administrators import (
    IssuedAdminKey,
    create_administrator,
    disable_administrator,
    issue_admin_key,
    revoke_admin_key,
)
from api.administration.grants import record_grant, revoke_grant
from api.administration.keys import (
    AS_IT_IS,
    IssuedKey,
    KeyChanges,
    NewKey,
    change_key,
    issue_key,
    make_key,
    revoke_key,
    rotate_key,
)
from api.administration.partners import (
    NewPartner,
    PartnerChanges,
    add_partner,
    change_partner,
    create_partner,
    lock_partner,
    set_status,
)
from api.administration.settlement import approve_change, cancel_change, request_change
from models.errors import AdministrationRefused
from models.tables.admin_book import COMMAND_LINE, Actor

__all__ = [
    "AS_IT_IS",
    "COMMAND_LINE",
    "Actor",
    "AdministrationRefused",
    "IssuedAdminKey",
    "IssuedKey",
    "KeyChanges",
    "NewKey",
    "NewPartner",
    "PartnerChanges",
    "add_partner",
    "approve_change",
    "cancel_change",
    "change_key",
    "change_partner",
    "create_administrator",
    "create_partner",
    "disable_administrator",
    "issue_admin_key",
    "issue_key",
    "lock_partner",
    "make_key",
    "record_grant",
    "request_change",
    "revoke_admin_key",
    "revoke_grant",
    "revoke_key",
    "rotate_key",
    "set_status",
]
