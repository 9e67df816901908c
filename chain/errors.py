"""What can go wrong between the engine and a chain.

::

    ChainError
    ├── RpcUnavailable        no usable answer: timeout, reset, 429, 5xx. The outcome is UNKNOWN, never "it did not happen"
    │   ├── NodeLags          the node is behind what is known already
    │   └── MalformedAnswer   an answer came and could not be understood, which proves as little
    ├── RpcError              the node understood and answered with an error that is not a revert
    ├── Reverted              a contract refused, and said why
    └── ChainMisconfigured    a setting does not fit the chain: the process must not start
"""

from enum import StrEnum


class ChainError(Exception):
    """The root of everything that a chain, or the way to it, raises."""


class RpcUnavailable(ChainError):
    """The outcome of the request is unknown. Retrying is right; concluding anything is not."""


class MalformedAnswer(RpcUnavailable):
    """The node's answer is not what the protocol promises."""


class NodeLags(RpcUnavailable):
    """The node's head is behind a block that the engine has acted on: what it says is of the past."""

    def __init__(self, head: int, needed: int) -> None:
        super().__init__(f"the node is at block {head}, and block {needed} is known already")


class DebtNotFinal(RpcUnavailable):
    """The newest block shows no debt, and the newest final one does: only time tells which of them stays."""

    def __init__(self, position_id: int, final: int) -> None:
        super().__init__(f"position {position_id} owes nothing any more, but that is not final: block {final} is")


class RpcError(ChainError):
    """The node's own error. `data` is whatever it sent along."""

    def __init__(self, code: int, message: str, data: object = None) -> None:
        super().__init__(f"{message} (code {code})")
        self.code = code
        self.message = message
        self.data = data


class RevertKind(StrEnum):
    REQUIRE = "require"
    CUSTOM = "custom"
    PANIC = "panic"
    EMPTY = "empty"


class Reverted(ChainError):
    """A contract refused. `reason` is the `require` string, the custom error with its arguments, or the panic's name."""

    def __init__(self, reason: str, kind: RevertKind, data: bytes = b"") -> None:
        super().__init__(reason or "reverted without a reason")
        self.reason = reason
        self.kind = kind
        self.data = data


class ChainMisconfigured(ChainError):
    """A setting does not fit the chain. `setting` is its name, as the operator wrote it."""

    def __init__(self, setting: str, message: str) -> None:
        super().__init__(f"{setting}: {message}")
        self.setting = setting
        self.message = message
