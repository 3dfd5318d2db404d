"""The alert rules: about metrics that there are, and tried by promtool where the machine has it (Debian's package `prometheus`)."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from serving.gateway.settings import Settings
from serving.gateway.sources import FolderSource
from tests.conftest import write_mean_model
from tests.serving.gateway.conftest import serve
from tests.serving.gateway.test_monitoring import BRIGHT, describe

FOLDER = Path(__file__).parents[2] / "infra" / "prometheus"
PROMTOOL = shutil.which("promtool")
RULES = [rule for group in yaml.safe_load((FOLDER / "rules.yaml").read_text())["groups"] for rule in group["rules"]]
TESTS = yaml.safe_load((FOLDER / "rules.test.yaml").read_text())["tests"]


def test_every_rule_is_about_metrics_that_the_gateway_has(tmp_path: Path) -> None:
    source = FolderSource({"champion": describe(write_mean_model(tmp_path / "pets", 32, 2.0))})
    with serve(source, Settings()) as client:
        client.post("/predict", data=BRIGHT)
        names = set(re.findall(r"^(pawflow_\w+)", client.get("/metrics").text, re.MULTILINE))
    for rule in RULES:
        used = set(re.findall(r"pawflow_\w+", rule["expr"]))
        assert used
        assert used <= names


def test_what_is_refused_is_counted_among_the_routes_that_take_photos(tmp_path: Path) -> None:
    (pattern,) = {route for rule in RULES for route in re.findall(r'route=~"([^"]+)"', rule["expr"])}
    with serve(FolderSource({"champion": write_mean_model(tmp_path / "pets", 32, 2.0)}), Settings()) as client:
        for path in ("/predict", "/predict/champion", "/invocations", "/flag"):
            client.post(path, data=BRIGHT)
        for path in ("/", "/readyz", "/drift", "/elsewhere"):
            client.get(path)
        routes = set(re.findall(r'^pawflow_requests_total{.*route="([^"]+)"', client.get("/metrics").text, re.MULTILINE))
    assert {"/", "/readyz", "/drift", "other"} < routes
    assert {route for route in routes if re.fullmatch(pattern, route)} == {"/predict", "/predict/{name}", "/invocations", "/flag"}


def test_every_rule_is_tried() -> None:
    tried = {case["alertname"] for test in TESTS for case in test["alert_rule_test"] if case["exp_alerts"]}
    assert tried == {rule["alert"] for rule in RULES}


@pytest.mark.skipif(PROMTOOL is None, reason="no promtool on this machine")
@pytest.mark.parametrize("arguments", [("check", "rules", "rules.yaml"), ("test", "rules", "rules.test.yaml")])
def test_promtool_agrees(arguments: tuple[str, ...]) -> None:
    assert PROMTOOL
    done = subprocess.run([PROMTOOL, *arguments], cwd=FOLDER, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
