"""A signer in the middle of whose work something else happens."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from eth_typing import ChecksumAddress

from chain.signer import SignedTransaction, Signer, UnsignedTransaction


@dataclass
class Interrupted:
    """A signer in whose first signature something else happens, as it may between any two transactions of a lane."""

    signer: Signer
    meanwhile: Callable[[], Awaitable[None]]
    calls: int = 0

    @property
    def address(self) -> ChecksumAddress:
        return self.signer.address

    async def sign(self, transaction: UnsignedTransaction) -> SignedTransaction:
        self.calls += 1
        if self.calls == 1:
            await self.meanwhile()
        return await self.signer.sign(transaction)
