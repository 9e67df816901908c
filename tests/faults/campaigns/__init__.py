"""Every campaign, in the order in which they run: a new one is a module of this package and a line here."""

from tests.faults.campaign import Campaign
from tests.faults.campaigns.at_once import LimitRace, SameRequest
from tests.faults.campaigns.cancel_races import CancelRaces
from tests.faults.campaigns.chaos import Chaos
from tests.faults.campaigns.crash_points import CrashPoints
from tests.faults.campaigns.kills import Kills
from tests.faults.campaigns.lane_takeover import LaneTakeover
from tests.faults.campaigns.many_processes import ManyProcesses
from tests.faults.campaigns.node_answers import NodeAnswers
from tests.faults.campaigns.parts_away import PartsAway
from tests.faults.campaigns.pool_faults import DroppedTransactions, FeeSpikes
from tests.faults.campaigns.rate_limit import RateLimit
from tests.faults.campaigns.reorgs import Reorgs
from tests.faults.campaigns.stalled_submits import StalledSubmits
from tests.faults.campaigns.stolen_nonces import StolenNonces
from tests.faults.campaigns.strangers import Strangers
from tests.faults.campaigns.webhook_kills import WebhookKills
from tests.faults.campaigns.workflow_events import WorkflowEvents

CAMPAIGNS: tuple[Campaign, ...] = (
    CrashPoints(),
    Kills(),
    ManyProcesses(),
    LaneTakeover(),
    Reorgs(),
    StolenNonces(),
    DroppedTransactions(),
    FeeSpikes(),
    CancelRaces(),
    StalledSubmits(),
    NodeAnswers(),
    Chaos(),
    SameRequest(),
    LimitRace(),
    PartsAway(),
    WorkflowEvents(),
    Strangers(),
    WebhookKills(),
    RateLimit(),
)
