"""A proxy between the engine's processes and their node, which does to calls what the plan of a seed says.

Without a plan everything passes. It also keeps back the answers to what is sent, so that a process can be killed at the one
moment that no row shows (the node has its transaction, and it does not know), and it can be away altogether.
"""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from aiohttp import ClientSession, web

from tests.faults.lagging import answer_of_the_past, question_of_the_past
from tests.faults.plan import SEND, Fault, FaultPlan, Injection

Item = dict[str, Any]
HEAD: Item = {"jsonrpc": "2.0", "id": 0, "method": "eth_blockNumber", "params": []}
HELD_BACK_SECONDS = 1
JSON = "application/json"

_KEPT_FROM_THE_NODE = frozenset({Fault.LOST_BEFORE, Fault.ALREADY_KNOWN, Fault.REFUSED_UNSENT, Fault.BUSY})


@dataclass(frozen=True, slots=True)
class Happened:
    """One line of the log of what was injected."""

    seed: int
    method: str
    number: int
    fault: Fault
    amount: int


@dataclass
class Asked:
    """One request of a batch, what befalls it, and its answer: None where it gets none."""

    item: Item
    injection: Injection | None
    answer: Item | None = None

    @property
    def fault(self) -> Fault | None:
        return None if self.injection is None else self.injection.fault

    @property
    def sends(self) -> bool:
        return bool(self.item["method"] == SEND)

    def refuse(self, code: int, message: str) -> None:
        self.answer = {"jsonrpc": "2.0", "id": self.item["id"], "error": {"code": code, "message": message}}


class Proxy:
    def __init__(self, node_url: str, session: ClientSession) -> None:
        self.url = ""
        self.taken = asyncio.Event()
        """Set when the node has taken a transaction whose sender waits for the answer in vain."""
        self.log: list[Happened] = []
        self._node_url = node_url
        self._session = session
        self._plan: FaultPlan | None = None
        self._numbers: Counter[str] = Counter()
        self._answering = asyncio.Event()
        self._answering.set()
        self._passed = asyncio.Condition()
        self._here = asyncio.Event()
        self._here.set()

    def follow(self, plan: FaultPlan | None) -> None:
        """From now on calls are counted, and hit, by this plan; with None everything passes."""
        self._plan = plan
        self._numbers.clear()

    @property
    def injected(self) -> Counter[str]:
        return Counter(str(happened.fault) for happened in self.log)

    def write_log(self, path: Path) -> None:
        path.write_text("".join(f"{json.dumps(asdict(happened))}\n" for happened in self.log))

    def keep_answers_to_sends(self) -> None:
        self.taken.clear()
        self._answering.clear()

    def let_pass(self) -> None:
        self._answering.set()

    def leave(self) -> None:
        """From now on every connection is closed at once: to the engine the node is gone."""
        self._here.clear()

    def come_back(self) -> None:
        self._here.set()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if not self._here.is_set():
            return _cut(request)
        batch = [Asked(item, self._decide(item["method"])) for item in json.loads(await request.read())]
        faults = {asked.fault for asked in batch}
        if Fault.TOO_MANY in faults:
            return web.Response(status=429)
        await self._serve(batch)
        await self._keep_back(batch)
        return _cut(request) if Fault.CUT in faults or not self._here.is_set() else _response(batch, faults)

    def _decide(self, method: str) -> Injection | None:
        if self._plan is None:
            return None
        self._numbers[method] += 1
        number = self._numbers[method]
        injection = self._plan.decide(method, number)
        if injection is not None:
            self.log.append(Happened(self._plan.seed, method, number, injection.fault, injection.amount))
        return injection

    async def _serve(self, batch: Sequence[Asked]) -> None:
        delays = [
            asked.injection.delay_milliseconds
            for asked in batch
            if asked.injection is not None and asked.fault is Fault.DELAYED
        ]
        await asyncio.sleep(max(delays, default=0) / 1000)
        for asked in batch:
            if asked.fault in _KEPT_FROM_THE_NODE:
                _answer_without_the_node(asked)
        held = [asked for asked in batch if asked.fault is Fault.HELD_BACK]
        await self._pass_on([asked for asked in batch if asked.fault not in {*_KEPT_FROM_THE_NODE, Fault.HELD_BACK}])
        if held:
            await self._wait_for_a_later_send()
            await self._pass_on(held)

    async def _pass_on(self, batch: Sequence[Asked]) -> None:
        if not batch:
            return
        lagging = any(asked.fault is Fault.LAGS for asked in batch)
        head = int((await self._ask([HEAD]))[0]["result"], 16) if lagging else 0
        answers = await self._ask([_question(asked, head) for asked in batch])
        if again := [asked.item for asked in batch if asked.fault is Fault.TWICE]:
            await self._ask(again)
        for asked, answer in zip(batch, answers, strict=True):
            asked.answer = _told(asked, answer, head)
        if any(asked.sends for asked in batch):
            async with self._passed:
                self._passed.notify_all()

    async def _ask(self, items: Sequence[Item]) -> list[Item]:
        """The node's answers, in the order of the questions."""
        async with self._session.post(self._node_url, json=items) as response:
            answers = {answer["id"]: answer for answer in await response.json()}
        return [answers[item["id"]] for item in items]

    async def _wait_for_a_later_send(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(HELD_BACK_SECONDS), self._passed:
                await self._passed.wait()

    async def _keep_back(self, batch: Sequence[Asked]) -> None:
        if not self._answering.is_set() and any(asked.sends for asked in batch):
            self.taken.set()
            await self._answering.wait()


def _answer_without_the_node(asked: Asked) -> None:
    if asked.fault is Fault.ALREADY_KNOWN:
        asked.refuse(-32000, "already known")
    elif asked.fault is Fault.BUSY:
        asked.refuse(-32005, "request rate limited")
    elif asked.fault is Fault.REFUSED_UNSENT and asked.injection is not None:
        asked.refuse(-32000, asked.injection.refusal)


def _question(asked: Asked, head: int) -> Item:
    if asked.injection is None or asked.fault is not Fault.LAGS:
        return asked.item
    return question_of_the_past(asked.item, head - asked.injection.lag)


def _told(asked: Asked, answer: Item, head: int) -> Item | None:
    match asked.injection:
        case Injection(fault=Fault.LOST_AFTER):
            return None
        case Injection(fault=Fault.UNKNOWN_HERE):
            return {**answer, "result": None} if "result" in answer else answer
        case Injection(fault=Fault.LAGS) as injection:
            return answer_of_the_past(asked.item, answer, head - injection.lag)
        case Injection(fault=Fault.REFUSED_SENT) as injection:
            error = {"code": -32000, "message": injection.refusal}
            return {"jsonrpc": "2.0", "id": asked.item["id"], "error": error}
        case _:
            return answer


def _response(batch: Sequence[Asked], faults: Collection[Fault | None]) -> web.Response:
    if Fault.BAD_GATEWAY in faults:
        return web.Response(status=502, text="502 Bad Gateway")
    text = json.dumps([asked.answer for asked in batch if asked.answer is not None])
    return web.Response(text=text[: len(text) // 2] if Fault.MALFORMED in faults else text, content_type=JSON)


def _cut(request: web.Request) -> web.StreamResponse:
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=503)


@asynccontextmanager
async def proxy_before(node_url: str) -> AsyncIterator[Proxy]:
    async with ClientSession() as session:
        proxy = Proxy(node_url, session)
        application = web.Application(client_max_size=0)
        application.router.add_post("/", proxy.handle)
        runner = web.AppRunner(application, shutdown_timeout=1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        proxy.url = f"http://{host}:{port}/"
        try:
            yield proxy
        finally:
            proxy.let_pass()
            await runner.cleanup()
