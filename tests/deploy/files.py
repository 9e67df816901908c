"""The files that a deployment is made of, read as data."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[2]
COMPOSE_FILE = ROOT / "docker-compose.yml"
_VARIABLE = re.compile(r"\$\{(?P<name>\w+)(?::?-(?P<default>[^}]*))?\}")

Service = dict[str, Any]


def compose() -> dict[str, Any]:
    """The Compose file with its anchors resolved, as YAML means it; variables stand as they are written."""
    loaded: dict[str, Any] = YAML(typ="safe").load(COMPOSE_FILE)
    return loaded


SERVICES: dict[str, Service] = compose()["services"]
JOBS = {name for name, service in SERVICES.items() if service["restart"] == "no"}
OURS = {name for name, service in SERVICES.items() if "build" in service}


def with_defaults(text: str, given: Mapping[str, str]) -> str:
    """The text as Compose reads it where only these variables are set."""
    return _VARIABLE.sub(lambda found: given.get(found["name"], found["default"] or ""), text)


def env_file(path: Path) -> dict[str, str]:
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def mounts(service: Service) -> list[Path]:
    """What of the repository is mounted."""
    sources = [volume.split(":")[0] for volume in service.get("volumes", [])]
    return [ROOT / source for source in sources if source.startswith("./")]
