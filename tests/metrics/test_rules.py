"""Rules and dashboards: promtool fires each rule and sees it silent, and each asks for metrics that the engine tells."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from metrics.catalogue import CATALOGUE
from sandbox.engine import ROOT
from sandbox.metrics_page import PAGE, page
from tests.metrics.situations import FIRING, WELL

OPS = ROOT / "ops"
RULES = OPS / "prometheus" / "alerts.yml"
RUNBOOK = ROOT / "docs" / "runbook.md"
DASHBOARDS = sorted((OPS / "grafana" / "dashboards").glob("*.json"))
SEVERITIES = {"critical", "warning", "info"}
OURS = re.compile(r"\bloan_engine_\w+")
NO_PROMTOOL = "promtool is not on PATH; Debian has it in the package prometheus"


def rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load(RULES.read_text())["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


def alerts() -> list[str]:
    return [rule["alert"] for rule in rules()]


def told() -> set[str]:
    return {name for family in CATALOGUE for name in family.samples}


@pytest.mark.parametrize("rule", rules(), ids=alerts())
def test_a_rule_leads_to_its_entry_in_the_runbook(rule: Mapping[str, Any]) -> None:
    """It has a severity and a sentence, and its link ends at a heading that says how to see it, the money, and what to do."""
    assert rule["labels"]["severity"] in SEVERITIES
    assert rule["annotations"]["summary"]
    anchor = rule["annotations"]["runbook_url"].partition("#")[2]
    _, _, after = RUNBOOK.read_text().partition(f"\n### {rule['alert']}\n")
    entry = after.partition("\n### ")[0]
    assert anchor == rule["alert"].lower()
    assert all(f"**{part}:**" in entry for part in ("See it", "Money", "Do"))


@pytest.mark.parametrize("rule", rules(), ids=alerts())
def test_a_rule_asks_for_what_is_told(rule: Mapping[str, Any]) -> None:
    """No rule waits for a metric that no process tells."""
    asked = set(OURS.findall(rule["expr"]))
    assert asked
    assert asked <= told()


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda path: path.stem)
def test_a_dashboard_asks_for_what_is_told(dashboard: Path) -> None:
    """Each panel has a question, and each question names metrics that exist."""
    board = json.loads(dashboard.read_text())
    asked = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    assert all(panel["targets"] for panel in board["panels"])
    assert all(OURS.findall(expr) for expr in asked)
    assert {name for expr in asked for name in OURS.findall(expr)} <= told()
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])


def test_the_provisioning_is_yaml() -> None:
    """Prometheus and Grafana find their files by it: the data source has the identity that dashboards name."""
    (source,) = yaml.safe_load((OPS / "grafana/provisioning/datasources/prometheus.yml").read_text())["datasources"]
    (provider,) = yaml.safe_load((OPS / "grafana/provisioning/dashboards/dashboards.yml").read_text())["providers"]
    config = yaml.safe_load((OPS / "prometheus/prometheus.yml").read_text())
    named = {
        uid for path in DASHBOARDS for uid in re.findall(r'"type": "prometheus",\s+"uid": "(\w+)"', path.read_text())
    }
    assert named == {source["uid"]}
    assert provider["type"] == "file"
    assert config["rule_files"] == [RULES.name]


def test_every_alert_has_a_situation_in_which_it_fires() -> None:
    """A rule without one could never be seen to work."""
    assert {alert for alert, _ in FIRING} == set(alerts())


def test_the_page_of_metrics_is_up_to_date() -> None:
    """docs/metrics.md says what the code says."""
    assert PAGE.read_text() == page()


@pytest.fixture(scope="module")
def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        pytest.skip(NO_PROMTOOL)
    return found


def run(promtool: str, *arguments: str) -> None:
    done = subprocess.run([promtool, *arguments], capture_output=True, text=True, timeout=60, check=False)  # noqa: S603 - a program of this machine
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_accepts_the_files(promtool: str) -> None:
    """The rules by themselves, and the configuration that names them."""
    run(promtool, "check", "rules", str(RULES))
    run(promtool, "check", "config", str(OPS / "prometheus" / "prometheus.yml"))


def test_promtool_fires_each_rule(promtool: str, tmp_path: Path) -> None:
    """Where all is well no rule fires; where one thing is otherwise, its rule does."""
    tests = tmp_path / "alerts_test.yml"
    tests.write_text(yaml.safe_dump({"rule_files": [str(RULES)], "tests": list(_cases())}))
    run(promtool, "test", "rules", str(tests))


def test_promtool_sees_a_rule_that_does_not_fire(promtool: str, tmp_path: Path) -> None:
    """The last test can fail: a situation in which all is well is not taken for an alert."""
    tests = tmp_path / "alerts_test.yml"
    case = _case("LegHeld", WELL, fires=True)
    tests.write_text(yaml.safe_dump({"rule_files": [str(RULES)], "tests": [case]}))
    with pytest.raises(AssertionError, match="LegHeld"):
        run(promtool, "test", "rules", str(tests))


def _cases() -> Iterator[dict[str, Any]]:
    for alert in alerts():
        yield _case(alert, WELL, fires=False)
    for alert, otherwise in FIRING:
        series = {name: values for name, values in {**WELL, **otherwise}.items() if values is not None}
        yield _case(alert, series, fires=True)


def _case(alert: str, series: Mapping[str, str], *, fires: bool) -> dict[str, Any]:
    return {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [
            {
                "expr": f'count(ALERTS{{alertname="{alert}", alertstate="firing"}}) > bool 0',
                "eval_time": "40m",
                "exp_samples": [{"labels": "{}", "value": 1}] if fires else [],
            }
        ],
    }
