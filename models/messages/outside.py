"""Payloads of ``SyncPositionsWorkflow``."""

from models.messages.common import Message


class Followed(Message):
    """What was read of the vault's events: up to which block, how many were new, and whether more blocks are final."""

    block_number: int = -1
    movements: int = 0
    more: bool = False
