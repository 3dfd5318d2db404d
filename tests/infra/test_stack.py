"""The team server as processes, a whole run into it, and what happens when everything is killed."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import boto3
import psutil
import pytest
import requests
import typer
from PIL import Image
from typer.main import get_command

from infra.stack import credentials
from infra.stack.__main__ import app
from infra.stack.services import PARTS, Stack, forget_killed_database
from tests.docs.reading import parse
from tests.infra.team_server import Server

ROOT = Path(__file__).parents[2]


def test_credentials_are_made_once_and_kept_to_their_owner(tmp_path: Path) -> None:
    path = tmp_path / "new" / ".env"
    first = credentials.ensure(path)
    assert set(first) == set(credentials.NAMES)
    assert len(set(first.values())) == len(first)
    assert min(map(len, first.values())) >= 32
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_text(path.read_text().replace(f"PAWFLOW_API_KEY={first['PAWFLOW_API_KEY']}", "# a comment\nPAWFLOW_API_KEY="))
    second = credentials.ensure(path)
    assert second.pop("PAWFLOW_API_KEY") not in ("", first.pop("PAWFLOW_API_KEY"))
    assert second == first
    assert credentials.ensure(path) == credentials.read(path)


def test_a_killed_database_does_not_keep_the_next_one_from_starting(tmp_path: Path) -> None:
    note = tmp_path / "postgres" / "postmaster.pid"
    note.parent.mkdir()
    ended = subprocess.Popen([sys.executable, "-c", ""])
    while psutil.Process(ended.pid).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
    for uncollected in (True, False):
        if not uncollected:
            ended.wait()
        note.write_text(f"{ended.pid}\n{note.parent}\n")
        forget_killed_database(Stack(tmp_path, {}, 5000, "any"))
        assert not note.exists()


def test_the_highest_port_of_any_part_is_one() -> None:
    highest = 65_535 - 10_000 - PARTS.index("filer")
    assert parse(get_command(app), ["up", "--first-port", str(highest)])["first_port"] == highest
    for port, reason in ((0, "greater than or equal to 1"), (highest + 1, f"less than or equal to {highest}")):
        with pytest.raises(typer.BadParameter, match=reason):
            parse(get_command(app), ["up", "--first-port", str(port)])


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    # As root, Postgres runs as somebody else, who cannot get into pytest's own folders.
    with tempfile.TemporaryDirectory(prefix="pawflow-stack-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        running = Server(folder)
        running.start()
        yield running
        running.stop()
        left = [process for process in psutil.process_iter(["cmdline"]) if name in " ".join(process.info["cmdline"] or ())]
        assert not left


@pytest.mark.stack
def test_strangers_are_refused(server: Server) -> None:
    server.check_refusals()
    assert requests.get(f"{server.address('s3')}/pawflow", timeout=30).status_code == 403
    written = "".join(path.read_text(errors="replace") for path in [server.log, *(server.folder / "data" / "logs").iterdir()])
    assert not [name for name, value in server.passwords.items() if value in written]


@pytest.mark.stack
def test_its_parts_end_when_it_alone_is_killed(server: Server) -> None:
    stack = psutil.Process(server.process.pid)
    parts = stack.children(recursive=True)
    assert {"postgres", "weed"} <= {part.name() for part in parts}
    stack.kill()
    server.process.wait()
    # Those that are asked to end and do not are killed after 15 seconds.
    _, alive = psutil.wait_procs(parts, timeout=30)
    assert not alive
    server.start()


@pytest.mark.stack
def test_a_run_into_it_serves_and_survives(server: Server, tmp_path: Path) -> None:
    server.run_pipeline(tmp_path, "--recipe", "sample", "--smoke")
    photo = tmp_path / "photo.jpg"
    Image.new("RGB", (64, 48), (200, 120, 40)).save(photo)
    before = server.ask(photo)
    assert before["model_version"] == "1"
    server.wait_for("the endpoint serves")
    server.check_endpoint(photo, before)
    kept = server.take_inventory(tmp_path / "before")

    server.kill()
    server.start()
    assert server.take_inventory(tmp_path / "killed") == kept
    assert server.ask(photo) == before

    backup = tmp_path / "backup"
    saved = subprocess.run(server.command("backup", str(backup)), env=server.environment, capture_output=True, text=True, timeout=200)
    assert saved.returncode == 0, saved.stderr
    _lose_artifacts(server)
    server.kill()
    server.start()
    # Without artifacts there is no endpoint, and all else goes on.
    server.wait_for("endpoint does not come up")
    with server.client() as client:
        client.delete_registered_model(server.model)
    restored = subprocess.run(server.command("restore", str(backup)), env=server.environment, capture_output=True, text=True, timeout=200)
    assert restored.returncode == 0, restored.stderr
    server.stop()
    server.start()
    assert server.take_inventory(tmp_path / "restored") == kept
    assert server.ask(photo) == before


def _lose_artifacts(server: Server) -> None:
    """Delete the objects of the store."""
    keys = {"aws_access_key_id": server.passwords["S3_ACCESS_KEY"], "aws_secret_access_key": server.passwords["S3_SECRET_KEY"]}
    bucket = boto3.resource("s3", endpoint_url=server.address("s3"), region_name="us-east-1", **keys).Bucket("pawflow")
    assert list(bucket.objects.limit(1)), "the artifacts are in the store"
    bucket.objects.all().delete()
