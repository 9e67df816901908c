"""Balances and checks, as the demo prints them."""

from collections.abc import Sequence

from rich import box
from rich.table import Table

from models.money import format_usdc
from sandbox.demo.checks import Check
from sandbox.demo.story import Told

CHECK_WIDTH = 58


def balances_table(told: Told) -> Table:
    """Who has how many USDC, before and after; the fee is what the platform wallet keeps of a borrow."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False)
    table.add_column("")
    for moment, _ in told.balances:
        table.add_column(moment, justify="right")
    seen = [balances for _, balances in told.balances]
    for name, amounts in {
        "pool": [each.pool for each in seen],
        "platform wallet": [each.platform_wallet for each in seen],
        "settlement address": [each.settlement for each in seen],
        "user's debt": [each.debt for each in seen],
    }.items():
        table.add_row(name, *(format_usdc(amount) for amount in amounts))
    table.add_row("fee", "", format_usdc(int(told.loan.fee)), "")
    return table


def checks_lines(checks: Sequence[Check]) -> str:
    lines = [f"  {'✓' if each.right else '✗'} {each.what:<{CHECK_WIDTH}} {each.found}" for each in checks]
    return "\n".join(["\nChecks", *lines])
