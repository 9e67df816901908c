"""Fixtures for all tests; the real parts start when a test first asks for one."""

pytest_plugins = ["tests.services", "tests.database", "tests.engine"]
