"""Rotating the signer key (ADR 0007): its custody, as often as one likes, and what happens where somebody changes the address."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from eth_account import Account
from sqlalchemy import select

from models.statuses import IncidentKind
from models.tables.operators import Incident
from models.tables.transactions import ChainSigner
from settings import SignerSettings
from startup import SettingAtFault, describe_chain
from tests.engine import BuildEngine, Engine, keyed_sender, until
from tests.workflows.moments import leg_is, no_blocks
from tests.workflows.test_reconcile import audit
from wiring import Parts
from worker import lane_of, load_signer

PASSPHRASE = "the passphrase of the test"


async def test_the_key_moves_to_another_file(build_engine: BuildEngine, tmp_path: Path) -> None:
    """From a file in hex to a keystore while one leg is in flight and another waits: both end, and USDC moved once."""
    async with build_engine() as engine, engine.loans():
        one, other = [await engine.new_borrower() for _ in range(2)]
        first = await engine.borrow(one)
        async with no_blocks(engine):
            async with engine.lane():
                sent = partial(leg_is, engine, first.json()["operation_id"], ("borrow", 1, "BROADCAST"))
                await until(sent)
            second = await engine.borrow(other)
        keystore = tmp_path / "keystore.json"
        keystore.write_text(
            json.dumps(Account.encrypt(bytes.fromhex(engine.signer_file.read_text()), PASSPHRASE, iterations=2))
        )
        keystore.chmod(0o600)
        engine.signer_file.unlink()
        signer = load_signer(
            SignerSettings(signer_key_file=keystore, signer_passphrase=PASSPHRASE), engine.chain.wallet
        )
        async with lane_of(engine.parts, signer):
            for answer in (first, second):
                assert (await engine.finished(answer))["outcome"]["status"] == "ACTIVE"
        await engine.assert_sound()


async def test_a_key_of_another_address_is_refused_at_the_start(build_engine: BuildEngine, tmp_path: Path) -> None:
    """By the name of the setting, and before any lane runs."""
    async with build_engine() as engine:
        other = tmp_path / "other.key"
        other.write_text(Account.create().key.hex())
        other.chmod(0o600)
        with pytest.raises(SettingAtFault, match="PLATFORM_WALLET"):
            load_signer(SignerSettings(signer_key_file=other), engine.chain.wallet)


async def test_another_address_is_not_served_on_the_same_rows(build_engine: BuildEngine, tmp_path: Path) -> None:
    """The audit finds the old wallet's USDC missing from the new one and pauses the new signer, so that nothing moves."""
    async with build_engine() as engine:
        async with engine.loans(), engine.lane():
            await engine.fund_float()
            await until(engine.float_is_booked)
        moved = await with_another_wallet(engine, tmp_path)
        async with moved.lane():
            await until(partial(is_known, moved))
            async with moved.loans():
                assert (await audit(moved)).paused
        async with engine.transaction() as session:
            row = await session.get_one(ChainSigner, (moved.chain.chain_id, moved.chain.wallet))
            broken = await session.scalars(select(Incident.kind).where(Incident.closed_at.is_(None)))
            assert row.paused_by == "reconciliation"
            assert IncidentKind.INVARIANT_BROKEN in set(broken)


async def with_another_wallet(engine: Engine, tmp_path: Path) -> Engine:
    wallet, key = await keyed_sender(engine.client)
    signer_file = tmp_path / "new.key"
    signer_file.write_text(key)
    signer_file.chmod(0o600)
    settings = engine.settings.model_copy(update={"platform_wallet": wallet.address})
    parts = Parts(settings, engine.parts.database, await describe_chain(settings, engine.client))
    return replace(engine, settings=settings, parts=parts, signer_file=signer_file)


async def is_known(engine: Engine) -> bool:
    async with engine.transaction() as session:
        return await session.get(ChainSigner, (engine.chain.chain_id, engine.chain.wallet)) is not None
