"""That a worker's event loop turns: a file that it touches while it does, and the health check that looks at its age.

A worker that has died needs no check, since its container ends with it. One whose loop is stuck would go unnoticed.

    python alive.py /tmp/alive      exit status 0 where the file was touched within the last half minute
"""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path

BEAT = timedelta(seconds=5)
STALE = timedelta(seconds=30)


@asynccontextmanager
async def beating(file: Path | None) -> AsyncIterator[None]:
    """Touches the file now and every few seconds until the block ends, which removes it. Raises OSError where it cannot."""
    if file is None:
        yield
        return
    file.touch()  # noqa: ASYNC240 - one call on a file system in memory
    beats = asyncio.create_task(_beat(file), name="alive")
    try:
        yield
    finally:
        beats.cancel()
        with suppress(asyncio.CancelledError):
            await beats
        file.unlink(missing_ok=True)  # noqa: ASYNC240


async def _beat(file: Path) -> None:
    while True:
        await asyncio.sleep(BEAT.total_seconds())
        file.touch()  # noqa: ASYNC240


def is_alive(file: Path) -> bool:
    """Whether the file was touched lately; no where it is not there, or is dated in the future."""
    try:
        age = time.time() - file.stat().st_mtime
    except FileNotFoundError:
        return False
    return -1 <= age <= STALE.total_seconds()


def main(arguments: Sequence[str]) -> int:
    return 0 if is_alive(Path(arguments[0])) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
