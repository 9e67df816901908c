"""Calls and events of contracts as typed values, encoded and decoded with as little work as possible.

A signature is parsed once, where a contract class declares it; what remains for each call is bytes. That the declared
signatures are those of the design is checked by a test against `chain/abi/*.json`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Generic, TypeVar, cast

from eth_abi.decoding import ContextFramesBytesIO
from eth_abi.exceptions import DecodingError
from eth_abi.registry import registry
from eth_typing import ChecksumAddress
from eth_utils.abi import function_signature_to_4byte_selector
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

from chain.errors import MalformedAnswer, Reverted
from chain.types import Log

T = TypeVar("T")

_NOTHING = "()"
"""eth_abi knows no type of nothing."""


@lru_cache(maxsize=65_536)
def checksum(address: str) -> ChecksumAddress:
    """The checksummed form. Cached, because it costs a hash and the engine meets the same addresses all day."""
    return to_checksum_address(address)


def _encoder(abi_type: str) -> Callable[[Sequence[object]], bytes]:
    if abi_type == _NOTHING:
        return lambda _: b""
    return cast(Callable[[Sequence[object]], bytes], registry.get_encoder(abi_type))


def _decoder(abi_type: str) -> Callable[[bytes], Any]:
    if abi_type == _NOTHING:
        return lambda _: ()
    decoder: Callable[[ContextFramesBytesIO], Any] = registry.get_decoder(abi_type)
    return lambda data: decoder(ContextFramesBytesIO(data))  # type: ignore[no-untyped-call]  # eth_abi leaves it untyped


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """A read of a contract, not made yet."""

    name: str
    to: ChecksumAddress
    data: str
    decode: Callable[[bytes], T]
    may_revert: bool = False


def attempt(call: Call[T]) -> Call[T | Reverted]:
    """The same call, with a revert as a value of the answer instead of an exception."""
    widened: Call[T | Reverted] = Call(call.name, call.to, call.data, call.decode, may_revert=True)
    return widened


class Function:
    """A function of a contract, such as `Function("transfer(address,uint256)", "bool")`."""

    def __init__(self, signature: str, outputs: str = "") -> None:
        self.signature = signature
        self.outputs = outputs
        self.name, _, inputs = signature.partition("(")
        self.selector = function_signature_to_4byte_selector(signature)
        self._encode = _encoder(f"({inputs}")
        self._decode = _decoder(f"({outputs})")

    def encode(self, *arguments: object) -> bytes:
        """Calldata: the selector and the arguments."""
        return self.selector + self._encode(arguments)

    def decode(self, answer: bytes) -> tuple[Any, ...]:
        """The values of an answer. Raises MalformedAnswer, also where an address without code answered nothing."""
        try:
            values: tuple[Any, ...] = self._decode(answer)
        except (DecodingError, OverflowError) as error:
            raise MalformedAnswer(f"{self.name} answered 0x{answer.hex()}: {error}") from error
        return values

    def call(self, to: ChecksumAddress, arguments: Sequence[object], make: Callable[..., T]) -> Call[T]:
        """A read whose values are handed to `make`, in the order of the outputs."""
        data = f"0x{self.encode(*arguments).hex()}"
        return Call(self.name, to, data, lambda answer: make(*self.decode(answer)))


class Event:
    """An event of a contract; `*` marks its indexed parameters, as in `Event("Transfer(address*,address*,uint256)")`."""

    def __init__(self, declaration: str) -> None:
        self.declaration = declaration
        self.signature = declaration.replace("*", "")
        self.name, _, inputs = declaration.removesuffix(")").partition("(")
        types = inputs.split(",")
        self.topic0 = f"0x{keccak(text=self.signature).hex()}"
        self._indexed = [_decoder(kind[:-1]) for kind in types if kind.endswith("*")]
        self._plain = _decoder(f"({','.join(kind for kind in types if not kind.endswith('*'))})")

    def decode(self, log: Log) -> tuple[Any, ...] | None:
        """The indexed values, then the others; None where the log is another event."""
        if not self._matches(log):
            return None
        try:
            indexed = (
                decoder(bytes.fromhex(topic[2:])) for decoder, topic in zip(self._indexed, log.topics[1:], strict=True)
            )
            return (*indexed, *self._plain(bytes.fromhex(log.data[2:])))
        except (DecodingError, OverflowError, ValueError):
            return None

    def _matches(self, log: Log) -> bool:
        return len(log.topics) == len(self._indexed) + 1 and log.topics[0] == self.topic0
