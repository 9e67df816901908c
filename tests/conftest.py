"""Fixtures for all tests; the real parts start when a test first asks for one."""

from hypothesis import settings

from tests.machines.effort import THOROUGH

settings.register_profile(THOROUGH)  # before hypothesis loads the profile that the command line names

pytest_plugins = ["tests.services", "tests.database", "tests.engine"]
