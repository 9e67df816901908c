"""Payloads of ``UpkeepWorkflow``."""

from models.messages.common import Message


class PartReport(Message):
    """What one part of the upkeep did, in words; or, where ``failed``, why it could not."""

    part: str
    said: str
    failed: bool = False


class UpkeepReport(Message):
    parts: tuple[PartReport, ...] = ()
