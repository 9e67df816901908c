"""Everything that can be set from outside: one frozen object, built once in ``main()`` and passed in.

Each field is read from the environment variable ``ENGINE_`` + its name, or, in a container, from the file of
that name in ``/run/secrets``. Start-up checks name these variables when one of them is at fault.
"""

import os
from datetime import timedelta
from decimal import Decimal
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Annotated, Literal, Self

from eth_typing import ChecksumAddress
from eth_utils.address import to_checksum_address
from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from activities.webhooks.addresses import AddressRules
from activities.webhooks.urls import UrlRules
from chain.finality import Finality
from chain.lane_config import DEFAULT_FEE_CAP, DEFAULT_GAS_RESERVE
from chain.types import Wei
from models.messages.common import Address, Pace
from models.sealing import KEY_BYTES, Sealer

ENV_PREFIX = "ENGINE_"
SECRETS = Path("/run/secrets") if Path("/run/secrets").is_dir() else None


def _addresses(value: object) -> object:
    return tuple(filter(None, map(str.strip, value.split(",")))) if isinstance(value, str) else value


def _nothing(value: object) -> object:
    """A variable that is there and empty is one that is not set, since Compose cannot leave one out."""
    return None if value == "" else value


def _valkey_url(value: SecretStr) -> SecretStr:
    if not value.get_secret_value().startswith(("valkey://", "valkeys://", "redis://", "rediss://")):
        raise ValueError("must begin with valkey:// or valkeys://")
    return value


def _networks(values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        ip_network(value)
    return values


def _address(value: str) -> str:
    return str(ip_address(value))


def _sealing_key(value: SecretStr) -> SecretStr:
    try:
        fits = len(bytes.fromhex(value.get_secret_value())) == KEY_BYTES
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(f"must be {KEY_BYTES} bytes in hex")
    return value


class DatabaseSettings(BaseSettings):
    """All that a migration needs."""

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, secrets_dir=SECRETS, frozen=True, extra="ignore")

    database_url: SecretStr


class Settings(DatabaseSettings):
    database_pool_size: int = Field(default=10, ge=1)
    reads_pool_size: int = Field(default=4, ge=1)
    """Connections of an API process for lists, the request log, figures and administrators' reads, which so never wait in front of money."""
    reads_timeout: timedelta = Field(default=timedelta(seconds=5), ge=timedelta(milliseconds=1))
    """How long one of those may take, and wait for its connection."""

    temporal_address: str = "127.0.0.1:7233"
    temporal_namespace: str = "default"

    worker_deployment: Annotated[Annotated[str, Field(pattern=r"^[^.\s]+$")] | None, BeforeValidator(_nothing)] = None
    """The name under which Temporal knows the workers of the role ``loans`` as builds of one deployment. With ``build_id``:
    an operation stays with the build that began it. Where neither is set, workers are unversioned."""
    build_id: Annotated[Annotated[str, Field(pattern=r"^\S+$")] | None, BeforeValidator(_nothing)] = None
    """Which build of the deployment this is: the commit, or the image's tag. New operations go to the build that was made current."""

    rpc_url: SecretStr
    chain_id: int
    usdc_address: Address
    oaid_address: Address
    vault_address: Address
    pool_address: Address
    platform_wallet: Address
    probe_address: Address = to_checksum_address("0x000000000000000000000000000000000000dEaD")
    """A transfer to this address is simulated to tell a refused settlement address from USDC that is paused for all."""
    treasury_addresses: Annotated[tuple[Address, ...], NoDecode, BeforeValidator(_addresses)] = ()
    """Senders whose USDC to the platform wallet is the operator's own and goes to the platform float."""

    confirmations: int | None = Field(default=None, ge=1)
    """Blocks, the one that holds the receipt included, until a receipt is final. There is no default: a depth that the
    chain's reorgs reach would let money move twice. Set this or ``finality_tag``."""
    finality_tag: Literal["safe", "finalized"] | None = None
    block_poll: timedelta = timedelta(seconds=1)
    resend_after: timedelta = timedelta(seconds=30)
    """How long a transaction may be without a receipt until its bytes are sent again."""
    inbound_from_block: int | None = None
    """Where the first scan for USDC sent to the platform wallet begins; the head of that moment where it is not set."""
    gas_margin: Decimal = Decimal("1.3")
    max_fee_cap: Wei = DEFAULT_FEE_CAP
    """The most that a transaction offers for its gas, in wei per gas. Above it nothing new is sent and a person is told."""
    gas_reserve: Wei = DEFAULT_GAS_RESERVE
    """What the platform wallet keeps of the gas token for bumps and cancellations, in wei."""
    bump_after: timedelta = timedelta(seconds=60)
    """How long a transaction waits for its block until it is replaced by one that pays more."""
    debt_ceiling: int = 100_000_000_000
    """What one position may owe to the pool, in base units."""
    allowance_target: int = 1_000_000_000_000
    """The bounded allowance that the platform wallet gives the vault, in base units."""
    residue_cap: int = 10_000_000
    """The most that the platform adds to a payoff so that it reaches zero, in base units."""

    head_wait: timedelta = timedelta(seconds=4)
    """How long a partner waits for the decision before the answer is ``pending``."""
    leg_patience: timedelta = timedelta(minutes=30)
    settle_retry: timedelta = timedelta(seconds=30)
    settle_blocked: timedelta = timedelta(minutes=10)
    settle_deadline: timedelta = timedelta(hours=24)
    proof_wait: timedelta = timedelta(minutes=30)

    sweep_every: timedelta = timedelta(minutes=1)
    """How often open operations whose workflow is gone are looked for."""
    reconcile_every: timedelta = timedelta(minutes=5)
    """Between two audits of all invariants by what is new on chain, on which the engine acts by itself."""
    audit_every: timedelta = timedelta(days=1)
    """Between two that read the chain from the first block on."""
    sync_every: timedelta = timedelta(seconds=30)
    """How often the vault's events are looked at for what happened to positions without the engine."""
    give_up_after: timedelta = timedelta(minutes=10)
    """How old a request must be, whose workflow never started, to be NOT_STARTED."""

    refund_after: timedelta = timedelta(days=14)
    """How long USDC sent to the platform wallet waits for its claim, until it is given back to a sender that is known."""
    refund_minimum: int = Field(default=1_000_000, ge=1)
    """The least that is given back by itself, in base units; less waits for a claim or a person."""

    alive_file: Path | None = None
    """A file that a worker touches every few seconds while its event loop turns, for ``python alive.py FILE``."""

    otlp_endpoint: Annotated[str | None, BeforeValidator(_nothing)] = None
    """``http://host:4317``: where spans go by OTLP over gRPC. Nothing is traced where it is not set."""
    trace_percent: int = Field(default=100, ge=0, le=100)
    """Of the requests whose caller has not decided by its own ``traceparent``, how many are traced."""

    metrics_port: int | None = Field(default=None, ge=0, le=65535)
    """Where this process tells Prometheus of itself; nowhere where it is not set, or 0. Never the API's own port."""
    temporal_metrics_port: int | None = Field(default=None, ge=0, le=65535)
    """The same for what the Temporal SDK tells of itself."""
    metrics_host: Annotated[str, AfterValidator(_address)] = "127.0.0.1"
    """The address of these ports: of an interface that partners do not reach."""
    metrics_every: timedelta = Field(default=timedelta(seconds=15), ge=timedelta(seconds=1))
    """How often the figures that are in rows are read for Prometheus."""

    key_mode: Literal["live", "sandbox"] = "live"
    key_pepper: SecretStr | None = None
    sealing_key: Annotated[SecretStr, AfterValidator(_sealing_key)] | None = None
    """32 bytes in hex, which seal at rest the secrets that must be used again: of signed requests and of webhooks. There are neither without it."""

    rate_limit_url: Annotated[SecretStr, AfterValidator(_valkey_url)] | None = None
    """``valkey://…``, or ``valkeys://…`` over TLS: what all API processes count requests in. Where it is not set, or away, each process counts by itself."""
    public_requests_per_minute: int = Field(default=60, ge=1)
    """For routes without a key, by address."""
    admin_requests_per_minute: int = Field(default=1_000, ge=1)
    """Of one administrator's key."""
    failed_keys_per_minute: int = Field(default=30, ge=1)
    """How many requests that fail to authenticate one address may make, so that keys cannot be guessed at speed."""
    trusted_proxies: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_addresses), AfterValidator(_networks)] = ()
    """Networks (CIDR) of proxies whose ``X-Forwarded-For`` is believed."""
    request_log_months: int = Field(default=13, ge=1)
    """How many whole months of the request log are kept beside the running one."""
    settlement_change_delay: timedelta = timedelta(hours=24)
    """How long an approved change of a settlement address waits."""
    upkeep_every: timedelta = timedelta(hours=6)
    """Between two looks at the partitions of the request log, and at what is due in the tables."""

    webhook_ports: Annotated[tuple[int, ...], NoDecode, BeforeValidator(_addresses)] = (443,)
    """Ports that a webhook's URL may name. In the sandbox profile (``key_mode``) any port, http and private addresses may be."""
    webhook_refused_networks: Annotated[
        tuple[IPv4Network | IPv6Network, ...], NoDecode, BeforeValidator(_addresses)
    ] = ()
    """Public networks (CIDR) that are the operator's own: no webhook is sent there. Private ones are refused anyway."""
    webhook_disable_after: timedelta = timedelta(days=5)
    """For how long a webhook endpoint may fail, without a success, until it is disabled."""
    webhook_secret_overlap: timedelta = timedelta(hours=24)
    """How long the old secret of an endpoint signs beside the new one."""

    service_every: timedelta = timedelta(minutes=5)
    """How often the installments of loans are looked at."""
    installment_notice: timedelta = timedelta(days=3)
    """How long before an installment is due its partner is told."""

    public_url: str = "http://127.0.0.1:8000"
    problem_base: str = "https://loan-engine.dev/problems/"

    @property
    def engine_addresses(self) -> frozenset[ChecksumAddress]:
        """Addresses that are the engine's own or its contracts', and nobody's to be paid at."""
        return frozenset(
            {
                self.platform_wallet,
                self.usdc_address,
                self.oaid_address,
                self.vault_address,
                self.pool_address,
                self.probe_address,
                *self.treasury_addresses,
            }
        )

    @property
    def demands_clearance(self) -> bool:
        """Whether only a verified partner with a signed contract may borrow: where the money is real."""
        return self.key_mode == "live"

    @property
    def sealer(self) -> Sealer | None:
        return None if self.sealing_key is None else Sealer(bytes.fromhex(self.sealing_key.get_secret_value()))

    @property
    def webhook_urls(self) -> UrlRules:
        """What the URL of a webhook may be: the API checks its form by them, and the worker also where it leads."""
        sandbox = self.key_mode == "sandbox"
        addresses = AddressRules(admit_private=sandbox, also_refused=self.webhook_refused_networks)
        return UrlRules(addresses, ports=self.webhook_ports, sandbox=sandbox)

    @property
    def finality(self) -> Finality:
        return Finality(confirmations=self.confirmations or 1, tag=self.finality_tag)

    @model_validator(mode="after")
    def _one_kind_of_finality(self) -> Self:
        if (self.confirmations is None) == (self.finality_tag is None):
            raise ValueError("set ENGINE_CONFIRMATIONS or ENGINE_FINALITY_TAG, and only one of them")
        return self

    @model_validator(mode="after")
    def _a_build_of_a_deployment(self) -> Self:
        if (self.worker_deployment is None) != (self.build_id is None):
            raise ValueError("set ENGINE_WORKER_DEPLOYMENT and ENGINE_BUILD_ID, or neither")
        return self

    @property
    def pace(self) -> Pace:
        def seconds(duration: timedelta) -> int:
            return max(1, int(duration.total_seconds()))

        return Pace(
            leg_patience=seconds(self.leg_patience),
            settle_retry=seconds(self.settle_retry),
            settle_blocked=seconds(self.settle_blocked),
            settle_deadline=seconds(self.settle_deadline),
            proof_wait=seconds(self.proof_wait),
        )


class SignerSettings(BaseSettings):
    """Read by the ``lane`` role alone, so that no other process ever holds the key."""

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, secrets_dir=SECRETS, frozen=True, extra="ignore")

    signer_key_file: Path
    """A key in hex or an Ethereum keystore, readable by this process's user alone."""
    signer_passphrase: SecretStr | None = None


def surroundings() -> dict[str, str]:
    """The environment of this process without the engine's variables: what a sandbox builds its processes' own upon."""
    return {name: value for name, value in os.environ.items() if not name.startswith(ENV_PREFIX)}  # noqa: TID251 - this is settings.py
