"""Secrets that the engine must be able to use again are sealed at rest: AES-256-GCM, bound to what they belong to.

What only has to be recognised, such as an API key, is stored as a hash instead and needs none of this.
"""

import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from models.errors import EngineError

_NONCE_BYTES = 12
KEY_BYTES = 32


class SealBroken(EngineError):
    """It was sealed under another key, for something else, or was changed since."""


class Sealer:
    """``key`` has 32 bytes. ``owner`` is what the secret belongs to, such as a row's id: a seal moved to another row is broken."""

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise ValueError(f"a sealing key has {KEY_BYTES} bytes, not {len(key)}")
        self._cipher = AESGCM(key)

    def seal(self, secret: bytes, owner: str) -> bytes:
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, secret, owner.encode())

    def open(self, sealed: bytes, owner: str) -> bytes:
        """Raises SealBroken."""
        try:
            return self._cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], owner.encode())
        except InvalidTag as broken:
            raise SealBroken(f"the secret of {owner} cannot be opened with the sealing key that is set") from broken
