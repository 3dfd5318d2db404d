"""The machine of 512 MB, as far as it can be told without one."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

COMPOSE = Path(__file__).parents[2] / "infra" / "compose"
SERVICES = yaml.safe_load((COMPOSE / "small.yaml").read_text())["services"]


def test_all_of_it_fits() -> None:
    assert sum(int(service["mem_limit"].removesuffix("m")) for service in SERVICES.values()) <= 512


@pytest.mark.parametrize("name", SERVICES)
def test_no_service_can_do_more_than_it_must(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert "ports" not in service or name == "proxy"


@pytest.mark.skipif(shutil.which("caddy") is None, reason="no Caddy on this machine")
def test_the_proxy_passes_photos_on_and_keeps_metrics_in() -> None:
    command = ["caddy", "adapt", "--adapter", "caddyfile", "--config", str(COMPOSE / "Caddyfile")]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert json.loads(text)["admin"]["disabled"]
    assert '"dial":"gateway:5002"' in text
    assert '"path":["/metrics","/drift","/monitor","/readyz"]' in text
