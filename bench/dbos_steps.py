"""The seven empty steps under DBOS, in a process of its own: ``python -m bench.dbos_steps DATABASE_URL NUMBER CONCURRENCY``.

Prints one line of JSON: how many nanoseconds so many workflows took, so many of them at a time.
"""

import asyncio
import json
import sys

from dbos import DBOS, DBOSConfig

from bench.measures import Stopwatch


@DBOS.step()
async def open_operation() -> None:
    """Nothing, as all of these."""


@DBOS.step()
async def authorize_partner() -> None: ...


@DBOS.step()
async def check_credit_line() -> None: ...


@DBOS.step()
async def calculate_fee() -> None: ...


@DBOS.step()
async def reserve_limit() -> None: ...


@DBOS.step()
async def record_borrow() -> None: ...


@DBOS.step()
async def activate_loan() -> None: ...


@DBOS.workflow()
async def seven_steps() -> None:
    await open_operation()
    await authorize_partner()
    await check_credit_line()
    await calculate_fee()
    await reserve_limit()
    await record_borrow()
    await activate_loan()


async def _run(number: int, concurrency: int) -> int:
    waiting = iter(range(number))

    async def one_after_the_other() -> None:
        for _ in waiting:
            await seven_steps()

    watch = Stopwatch()
    await asyncio.gather(*(one_after_the_other() for _ in range(concurrency)))
    return watch.nanoseconds()


async def _measure(number: int, concurrency: int) -> int:
    await _run(concurrency, concurrency)
    return await _run(number, concurrency)


def main(database_url: str, number: str, concurrency: str) -> None:
    config: DBOSConfig = {"name": "bench", "system_database_url": database_url, "log_level": "ERROR"}
    DBOS(config=config)
    DBOS.launch()
    try:
        nanoseconds = asyncio.run(_measure(int(number), int(concurrency)))
    finally:
        DBOS.destroy()
    print(json.dumps({"nanoseconds": nanoseconds}))


if __name__ == "__main__":
    main(*sys.argv[1:])
