"""docker-compose.yml, as far as it can be tried without an engine: its form, its names, and the rights that it gives."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from settings import ENV_PREFIX, DatabaseSettings, Settings, SignerSettings
from tests.deploy.files import COMPOSE_FILE, JOBS, OURS, ROOT, SERVICES, compose, env_file, mounts, with_defaults
from worker import Role

SANDBOX_ENV = ROOT / "ops" / "compose" / "sandbox.env"
EXACT = re.compile(r"[\w./-]+:v?\d+\.\d+(\.\d+)?(-[\w.]+)?(@sha256:[0-9a-f]{64})?")
FIELDS = {f"{ENV_PREFIX}{name.upper()}" for kind in (Settings, SignerSettings) for name in kind.model_fields}
PROFILES = (("core",), ("full",), ("core", "sandbox"), ("full", "sandbox"))
COMPOSE_COMMANDS = (("docker", "compose"), ("docker-compose",))
services = pytest.mark.parametrize("name", SERVICES)
ours = pytest.mark.parametrize("name", sorted(OURS))


def run(*command: str, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    around = {"PATH": os.defpath, "HOME": str(cwd), **environment}
    return subprocess.run(command, cwd=cwd, env=around, capture_output=True, text=True, timeout=60, check=False)  # noqa: S603


def test_it_is_of_the_compose_specification() -> None:
    """The file is valid by the JSON schema of the Compose specification."""
    checked = run(
        sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(COMPOSE_FILE)
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("profiles", PROFILES, ids="+".join)
def test_compose_itself_resolves_it(profiles: tuple[str, ...]) -> None:
    """Docker Compose takes each set of profiles as a whole project; skipped where there is none."""
    for words in COMPOSE_COMMANDS:
        program = shutil.which(words[0])
        if program and run(program, *words[1:], "version").returncode == 0:
            chosen = [word for profile in profiles for word in ("--profile", profile)]
            resolved = run(program, *words[1:], *chosen, "config", "--quiet", ENGINE_ENV=str(SANDBOX_ENV))
            assert resolved.returncode == 0, resolved.stderr
            return
    pytest.skip("no Docker Compose here")


@services
def test_an_image_is_of_one_version(name: str) -> None:
    """An image of others is pinned to an exact version; the engine's own is built from this tree."""
    image = SERVICES[name]["image"]
    assert EXACT.fullmatch(image) or (name in OURS and with_defaults(image, {}).endswith(":local"))


@services
def test_a_service_has_no_rights_that_it_does_not_need(name: str) -> None:
    """None is root, none can become more than it is, and none writes but where it is told to."""
    service = SERVICES[name]
    user, _, _ = service["user"].partition(":")
    assert int(user) > 0
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "cap_add", "network_mode", "pid", "ipc", "devices"} & set(service)


@services
def test_a_service_has_limits(name: str) -> None:
    """A part that runs wild takes neither the machine's memory, nor its processors, processes or disk."""
    assert set(SERVICES[name]["deploy"]["resources"]["limits"]) == {"cpus", "memory", "pids"}
    assert set(SERVICES[name]["logging"]["options"]) == {"max-size", "max-file"}


@services
def test_what_runs_on_has_a_health_check(name: str) -> None:
    """A job tells by its exit status how it went; everything else is asked."""
    check = SERVICES[name].get("healthcheck", {"disable": True})
    assert ("test" in check) is (name not in JOBS)


@services
def test_a_service_waits_until_what_it_needs_is_ready(name: str) -> None:
    """A dependency is healthy, or a job that is done; one that is not in every profile of the service is not required."""
    for needed, how in SERVICES[name].get("depends_on", {}).items():
        assert how["condition"] == ("service_completed_successfully" if needed in JOBS else "service_healthy")
        everywhere = set(SERVICES[name]["profiles"]) <= set(SERVICES[needed]["profiles"])
        assert how.get("required", True) is (everywhere or SERVICES[name]["profiles"] == ["sandbox"])


@services
def test_ports_are_of_this_machine_alone(name: str) -> None:
    """What is published is reached from this machine, through a network that has a way out."""
    networks = compose()["networks"]
    for port in SERVICES[name].get("ports", []):
        assert port.startswith("127.0.0.1:")
        assert any(not networks[each].get("internal", False) for each in SERVICES[name]["networks"])


def test_who_is_on_which_network() -> None:
    """Databases have no way out and no strangers; by the webhooks' way out nothing else of ours is reached."""
    members: dict[str, set[str]] = {network: set() for network in compose()["networks"]}
    for name, service in SERVICES.items():
        for network in service["networks"]:
            members[network].add(name)
    inside = {name for name, network in compose()["networks"].items() if network.get("internal", False)}
    assert inside == {"database", "temporal-database", "temporal", "cache", "telemetry"}
    assert members["database"] == {"postgres", *OURS}
    assert members["temporal-database"] == {"temporal-postgres", "temporal-schema", "temporal"}
    assert members["cache"] == {"valkey", "api"}
    assert members["webhooks"] == {"worker-webhooks"}
    assert members["edge"] == {"api"}
    assert "worker-webhooks" not in members["chain"]
    assert not members["consoles"] & OURS
    assert "worker-lane" not in members["temporal"]


@ours
def test_every_variable_is_a_setting(name: str) -> None:
    """A variable that no setting reads would be one that somebody believes in."""
    variables = set(SERVICES[name].get("environment", {}))
    assert variables <= FIELDS
    secrets = {each.upper() for each in SERVICES[name]["secrets"] if each.startswith("engine_")}
    assert secrets <= FIELDS


@pytest.mark.parametrize("path", [SANDBOX_ENV, ROOT / "engine.env.example"], ids=lambda path: path.name)
def test_an_env_file_has_settings_and_no_secrets(path: Path) -> None:
    """Each line is a setting, commented ones included; what is secret comes from a file."""
    text = path.read_text()
    named = set(re.findall(r"^(?:# )?(\w+)=", text, flags=re.MULTILINE))
    secret = {f"{ENV_PREFIX}{name.upper()}" for name, field in Settings.model_fields.items() if "Secret" in str(field)}
    assert named <= FIELDS - secret
    required = {f"{ENV_PREFIX}{name.upper()}" for name, field in Settings.model_fields.items() if field.is_required()}
    assert required - secret <= named


@ours
def test_a_process_finds_its_settings(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the variables and the secrets that Compose gives it, a process of ours reads all that it needs."""
    for field in FIELDS:
        monkeypatch.delenv(field, raising=False)
    for variable, value in {**env_file(SANDBOX_ENV), **SERVICES[name].get("environment", {})}.items():
        monkeypatch.setenv(variable, with_defaults(value, {}))
    for secret in SERVICES[name]["secrets"]:
        (tmp_path / secret).write_text(f"{SECRETS[secret]}\n")
    if name == "migrate":
        assert DatabaseSettings(_secrets_dir=tmp_path).database_url.get_secret_value() == SECRETS["engine_database_url"]
        return
    read = Settings(_secrets_dir=tmp_path)
    assert read.rpc_url.get_secret_value() == SECRETS["engine_rpc_url"]
    holds_key = "signer_key" in SERVICES[name]["secrets"]
    assert holds_key is (name in {"worker-lane", "sandbox"})
    if holds_key:
        assert SignerSettings(_secrets_dir=tmp_path).signer_key_file == Path("/run/secrets/signer_key")


SECRETS = {
    "engine_database_url": "postgresql+psycopg://engine:x@postgres:5432/engine",
    "engine_rpc_url": "http://anvil:8545",
    "engine_key_pepper": "ab" * 32,
    "engine_sealing_key": "cd" * 32,
    "signer_key": "ef" * 32,
}


def test_every_role_is_a_service() -> None:
    """Each role of worker.py runs apart."""
    commands = [service["command"] for name, service in SERVICES.items() if name.startswith("worker-")]
    assert {command[-1] for command in commands} == {*map(str, Role)} - {str(Role.ALL)}


@services
def test_what_is_mounted_is_there(name: str) -> None:
    """Docker would make an empty folder of a file that is missing, and the part would fail in a strange way."""
    assert [path for path in mounts(SERVICES[name]) if not path.exists()] == []
    assert all(secret in compose()["secrets"] for secret in SERVICES[name].get("secrets", []))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")
def test_the_secrets_are_made_once_and_for_their_readers(tmp_path: Path) -> None:
    """Every secret is made, none is made anew, and the lane's key is for its user alone."""
    script = ("/bin/sh", str(ROOT / "ops" / "compose" / "secrets.sh"), "sandbox")
    made = [run(*script, cwd=tmp_path, PATH=os.environ["PATH"]) for _ in range(2)]  # noqa: TID251 - openssl may be anywhere
    assert [each.returncode for each in made] == [0, 0], made[0].stderr
    found = {path.name: path for path in (tmp_path / "secrets").iterdir()}
    assert set(found) == set(compose()["secrets"])
    assert found["postgres_password"].read_text().strip() in found["engine_database_url"].read_text()
    key = found["signer_key"].stat()
    assert (key.st_uid, key.st_mode & 0o777) == (10001, 0o400)
    assert (tmp_path / "secrets").stat().st_mode & 0o777 == 0o700
