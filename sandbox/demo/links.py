"""Where to look and what to try while the sandbox is up: for a person as links, for curl and scripts as one file."""

import json
import shlex
from pathlib import Path
from urllib.parse import quote

from contracts.funding import OpenedLine
from sandbox.accounts import address_of, key_of, write_private
from sandbox.demo.partner import borrow_body
from sandbox.demo.story import Told
from sandbox.seed import PARTNER_ID, USDC
from sandbox.world import Sandbox

TRY_AMOUNT = 1_000 * USDC


def write_env_file(path: Path, sandbox: Sandbox) -> None:
    """Everything there is to know, as shell variables: `source` it. Only its owner can read it, as it holds keys."""
    lines = [f"{name}={shlex.quote(value)}" for name, value in variables(sandbox).items()]
    write_private(path, "# Written at each start of the demo.\n" + "\n".join(lines) + "\n")


def variables(sandbox: Sandbox) -> dict[str, str]:
    stack, contracts, accounts = sandbox.stack, sandbox.chain.contracts, sandbox.chain.accounts
    users = {
        name: value
        for number, (account, line) in enumerate(zip(accounts.users, sandbox.manifest.lines, strict=True), start=1)
        for name, value in {
            f"USER_{number}_ADDRESS": address_of(account),
            f"USER_{number}_KEY": key_of(account),
            f"USER_{number}_OAID_TOKEN_ID": str(line.credit_line_id),
            f"USER_{number}_POSITION_ID": str(line.position_id),
        }.items()
    }
    return {
        "API_URL": sandbox.engine.api_url,
        "PARTNER_ID": PARTNER_ID,
        "PARTNER_KEY": sandbox.manifest.partner_key,
        "SETTLEMENT_ADDRESS": address_of(accounts.settlement),
        "SETTLEMENT_KEY": key_of(accounts.settlement),
        **users,
        "CHAIN_ID": str(stack.anvil.chain_id),
        "RPC_URL": stack.rpc_url,
        "USDC_ADDRESS": contracts.usdc,
        "COLLATERAL_ADDRESS": contracts.collateral,
        "OAID_ADDRESS": contracts.oaid,
        "POOL_ADDRESS": contracts.pool,
        "VAULT_ADDRESS": contracts.vault,
        "PLATFORM_WALLET": address_of(accounts.platform),
        "OWNER_ADDRESS": address_of(accounts.owner),
        "OWNER_KEY": key_of(accounts.owner),
        "TREASURY_ADDRESS": address_of(accounts.treasury),
        "TREASURY_KEY": key_of(accounts.treasury),
        "DATABASE_URL": sandbox.engine.config.database_url,
        "TEMPORAL_ADDRESS": stack.temporal_address,
        "TEMPORAL_UI_URL": stack.temporal_ui_url or "",
        "VALKEY_URL": stack.valkey_url,
    }


def links(sandbox: Sandbox, told: Told) -> dict[str, str]:
    return {
        "API, to read and try": f"{sandbox.engine.api_url}/docs",
        "the borrow's workflow": _workflow_page(sandbox, told.borrow_operation),
        "the repayment's workflow": _workflow_page(sandbox, told.repay_operation),
        **_traces(sandbox),
    }


def _traces(sandbox: Sandbox) -> dict[str, str]:
    """Where the API and the worker send their spans, if anywhere."""
    endpoint = sandbox.engine.config.settings.get("OTLP_ENDPOINT")
    return {} if endpoint is None else {"traces are sent to": endpoint}


def _workflow_page(sandbox: Sandbox, workflow_id: str) -> str:
    """The workflow in the Temporal UI. Its id holds `:` and perhaps `~`, which no path may be left to interpret."""
    namespace = sandbox.engine.config.temporal_namespace
    return f"{sandbox.stack.temporal_ui_url}/namespaces/{namespace}/workflows/{quote(workflow_id, safe='')}"


def borrow_command(sandbox: Sandbox, line: OpenedLine, partner_loan_id: str) -> str:
    """A borrow that works when it is pasted; pasted again, it answers the same and moves nothing."""
    body = json.dumps(borrow_body(line, TRY_AMOUNT, partner_loan_id))
    return (
        f"curl -sS {sandbox.engine.api_url}/v1/loans"
        f" -H {shlex.quote(f'Authorization: Bearer {sandbox.manifest.partner_key}')}"
        f" -H 'Content-Type: application/json' -d {shlex.quote(body)}"
    )
