"""API keys: made here, told apart here from typing errors, and turned into the hash that is stored.

A partner's key is ``pk_{partner}_{live|sandbox}_{secret}``, an administrator's ``ak_{live|sandbox}_{secret}``. The secret is 190 random bits and a checksum over the whole key, in
letters and digits, so it holds no ``_`` although a partner's id may. The checksum finds a typing error without a lookup;
it is no secret and proves nothing.
"""

import hashlib
import hmac
import re
import secrets
import string
import zlib
from dataclasses import dataclass, field
from typing import Literal

from pydantic import SecretStr

from models.ids import is_public_id

KeyMode = Literal["live", "sandbox"]

_ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
_RANDOM_LENGTH = 32
_CHECKSUM_LENGTH = 6
_SHOWN_LENGTH = 4
_KEY = re.compile(
    rf"(?:pk_(?P<partner>.+)|ak)_(?P<mode>live|sandbox)_(?P<random>[0-9A-Za-z]{{{_RANDOM_LENGTH}}})"
    rf"(?P<checksum>[0-9A-Za-z]{{{_CHECKSUM_LENGTH}}})"
)


@dataclass(frozen=True, slots=True)
class Key:
    """A well-formed key, a partner's or, where ``partner_id`` is None, an administrator's.

    ``text`` is the secret and stays out of every repr; ``prefix`` may be shown and logged.
    """

    partner_id: str | None
    mode: KeyMode
    prefix: str
    text: str = field(repr=False)

    def hash(self, pepper: SecretStr | None) -> str:
        """What is stored: HMAC-SHA256 under the pepper where one is set, else SHA-256; hex."""
        text = self.text.encode()
        if pepper is None:
            return hashlib.sha256(text).hexdigest()
        return hmac.new(pepper.get_secret_value().encode(), text, hashlib.sha256).hexdigest()


def new_key(partner_id: str, mode: KeyMode) -> Key:
    """A partner's key of 190 random bits. Raises ValueError where the partner id is not one."""
    if not is_public_id(partner_id):
        raise ValueError(f"'{partner_id}' is no partner id")
    return _new_key(f"pk_{partner_id}_{mode}_", partner_id, mode)


def new_admin_key(mode: KeyMode) -> Key:
    return _new_key(f"ak_{mode}_", None, mode)


def parse_key(text: str) -> Key | None:
    """The key that this text is, or None where it cannot be one: another shape, or a checksum that does not hold."""
    match = _KEY.fullmatch(text)
    if match is None or not (match["partner"] is None or is_public_id(match["partner"])):
        return None
    if not hmac.compare_digest(_checksum(text[:-_CHECKSUM_LENGTH]), match["checksum"]):
        return None
    return _key(match["partner"], "live" if match["mode"] == "live" else "sandbox", text)


def _new_key(head: str, partner_id: str | None, mode: KeyMode) -> Key:
    body = head + "".join(secrets.choice(_ALPHABET) for _ in range(_RANDOM_LENGTH))
    return _key(partner_id, mode, body + _checksum(body))


def _key(partner_id: str | None, mode: KeyMode, text: str) -> Key:
    shown = len(text) - _RANDOM_LENGTH - _CHECKSUM_LENGTH + _SHOWN_LENGTH
    return Key(partner_id=partner_id, mode=mode, prefix=text[:shown], text=text)


def _checksum(body: str) -> str:
    rest = zlib.crc32(body.encode())
    digits = ""
    for _ in range(_CHECKSUM_LENGTH):
        rest, digit = divmod(rest, len(_ALPHABET))
        digits = _ALPHABET[digit] + digits
    return digits
