"""Fixtures for all tests; the real parts start when a test first asks for one."""

from tests.machines.effort import register_profiles

register_profiles()  # before hypothesis loads the profile that the command line names

pytest_plugins = ["tests.services", "tests.database", "tests.engine", "tests.sandbox", "tests.operating"]
