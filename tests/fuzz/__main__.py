"""``python -m tests.fuzz``: the long run on a sandbox of its own. The exit status is 1 where anything was found."""

import argparse
import asyncio
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.fuzz.fuzzing import passes, run
from tests.fuzz.ground import fuzzing_ground


async def fuzz(examples: int, only: str | None) -> int:
    failed = 0
    with TemporaryDirectory() as folder:
        async with fuzzing_ground(Path(folder)) as ground:
            for one in passes(ground.partner_key, ground.admin_key):
                if only in (None, one.name):
                    began = time.monotonic()
                    found = await asyncio.to_thread(run, ground.url, one, ground.world, examples)
                    sys.stdout.write(f"{one.name}: {time.monotonic() - began:.0f} s\n")
                    sys.stdout.write("".join(f"{line}\n" for line in found.lines()))
                    failed += len(found.failures)
    return int(failed > 0)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Fuzzes the API by its own document.")
    parser.add_argument("--examples", type=int, default=200, help="cases for each operation while fuzzing, at most")
    parser.add_argument("--only", choices=["partner", "administrator", "administrator's end", "nobody"])
    asked = parser.parse_args(arguments)
    return asyncio.run(fuzz(asked.examples, asked.only))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
