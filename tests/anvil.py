"""An Anvil of one's own, for tests of contracts and of the chain client."""

import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from contracts import node

_LISTENING = re.compile(r"Listening on (127\.0\.0\.1:\d+)")
_START_LIMIT_SECONDS = 30


@contextmanager
def running_anvil(block_time: timedelta | None = None) -> Iterator[str]:
    """The URL of a fresh chain that mines at once, or by the clock; `finalized` is two blocks behind its head."""
    command = [str(node.anvil()), "--port", "0", "--slots-in-an-epoch", "1"]
    if block_time is not None:
        command += ["--block-time", str(block_time.total_seconds())]
    with TemporaryDirectory() as folder, (Path(folder) / "anvil.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)  # noqa: S603  (our own binary)
        try:
            yield _url(Path(log.name), process)
        finally:
            process.kill()
            process.wait()


def _url(log: Path, process: subprocess.Popen[bytes]) -> str:
    deadline = time.monotonic() + _START_LIMIT_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        if (found := _LISTENING.search(log.read_text())) is not None:
            return f"http://{found.group(1)}"
        time.sleep(0.02)
    raise RuntimeError(f"Anvil did not start: {log.read_text()}")
