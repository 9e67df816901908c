"""What a sandbox remembers from one start to the next, and whether what it finds on its return is still that."""

from pathlib import Path
from typing import Self

from pydantic import BaseModel, ValidationError
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from chain.client import ChainClient
from chain.types import BlockNumber
from contracts.deploy import Contracts
from contracts.funding import OpenedLine
from models.statuses import TransactionState
from models.tables.partners import Partner
from models.tables.session import transactions
from models.tables.transactions import ChainTransaction
from sandbox.accounts import write_private
from sandbox.seed import PARTNER_ID


class Manifest(BaseModel):
    """`seeded_block` is a block after the contracts were put there: its hash is how the chain is known again.

    The partner's key is here because the engine itself keeps only its hash.
    """

    contracts: Contracts
    lines: tuple[OpenedLine, OpenedLine]
    seeded_block: int
    seeded_hash: str
    partner_key: str

    @classmethod
    def load(cls, path: Path) -> Self | None:
        """What is remembered; nothing if there is no file, or none that this code wrote."""
        try:
            return cls.model_validate_json(path.read_text())
        except (FileNotFoundError, ValidationError):
            return None

    def save(self, path: Path) -> None:
        write_private(path, self.model_dump_json(indent=2) + "\n")

    def with_line(self, user: int, line: OpenedLine) -> Self:
        lines = tuple(line if place == user else kept for place, kept in enumerate(self.lines))
        return self.model_copy(update={"lines": lines})

    async def describes(self, client: ChainClient, database: AsyncEngine) -> bool:
        """Whether the chain is that of the manifest, and the newest that the database takes for final is on it."""
        try:
            blocks = await self._remembered(database)
        except SQLAlchemyError:
            return False
        if blocks is None:
            return False
        found = await client.blocks([BlockNumber(number) for number in blocks])
        return all(block is not None and block.hash == blocks[block.number] for block in found)

    async def _remembered(self, database: AsyncEngine) -> dict[int, str] | None:
        """The blocks that must be there, by number; nothing where the database has no partner of ours."""
        newest = (
            select(ChainTransaction.result_block, ChainTransaction.result_block_hash)
            .where(ChainTransaction.state == TransactionState.FINAL_OK)
            .order_by(ChainTransaction.result_block.desc())
            .limit(1)
        )
        async with transactions(database)() as session:
            if await session.scalar(select(Partner.id).where(Partner.id == PARTNER_ID)) is None:
                return None
            final = [(number, hash_) for number, hash_ in await session.execute(newest) if number and hash_]
        return {self.seeded_block: self.seeded_hash, **dict(final)}
