"""Every campaign, in the order in which they run: a new one is a module of this package and a line here."""

from tests.faults.campaign import Campaign

CAMPAIGNS: tuple[Campaign, ...] = ()
