"""Ways through the rows of money.md's tables that no history is kept of, for the tests that see what a partner is told of each.

Each walks the real engine, whose lane is away at first, and returns the operation whose events the row is about.
"""
