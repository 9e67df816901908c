"""How much the state machines try: always the same few examples, or many new ones when one asks for them."""

from hypothesis import HealthCheck, Phase, settings

THOROUGH = "thorough"
"""The profile for ``pytest tests/machines --hypothesis-profile=thorough --timeout=0``; the root conftest registers all."""
HASTY = "hasty"
"""The profile that ends with the first failure, for who does not want to know the smallest one."""
_TIMES = 20


def register_profiles() -> None:
    settings.register_profile(THOROUGH)
    settings.register_profile(HASTY, phases=(Phase.explicit, Phase.generate))


def effort(examples: int, steps: int) -> settings:
    thorough = settings.get_current_profile_name() == THOROUGH
    return settings(
        max_examples=examples * (_TIMES if thorough else 1),
        stateful_step_count=steps,
        derandomize=not thorough,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
