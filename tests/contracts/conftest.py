from tests.chain.conftest import anvil_url, client, custodial_world, world

__all__ = ["anvil_url", "client", "custodial_world", "world"]
