"""The team server of `infra/compose/compose.yaml` for tests: a project of its own, on free ports, with passwords of its own."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from infra.stack import credentials
from tests.docs.reading import read_commands
from tests.infra.team_server import TeamServer

COMPOSE = Path(__file__).parents[2] / "infra" / "compose"
#: Official image -> what `make stand-ins` builds in its place.
STAND_INS = {
    "postgres:18-bookworm": "pawflow/postgres:local",
    "chrislusf/seaweedfs:4.48": "pawflow/s3:local",
    "caddy:2.10-alpine": "pawflow/caddy:local",
}
README = "infra/README.md"


def run_docker(*arguments: str) -> str:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def require_compose() -> None:
    """Skip where there is no engine or no Compose; fail where there are and images have not been built."""
    for command in (["docker", "version"], ["docker", "compose", "version"]):
        try:
            subprocess.run(command, capture_output=True, check=True, timeout=60)
        except (OSError, subprocess.SubprocessError):
            pytest.skip(f"`{' '.join(command)}` does not answer")
    missing = {f"pawflow/python-{name}:0.1.0" for name in ("serve", "tracking")} - _local_images()
    assert not missing, f"build {missing} first, with `make images`"


def _local_images() -> set[str]:
    return set(run_docker("images", "--format", "{{.Repository}}:{{.Tag}}").split())


def choose_images() -> dict[str, str]:
    """The stand-ins where they have been built, by the official images, which are taken elsewhere."""
    present = _local_images()
    return {official: image for official, image in STAND_INS.items() if image in present}


class Project:
    """One of the Compose files, with settings of its own.

    Attributes:
        folder: Holds `.env`, and whatever commands write.
        command: What stands before the arguments of every command.
    """

    def __init__(self, file: str, name: str, folder: Path, settings: dict[str, str]) -> None:
        self.folder, self.name = folder, f"{name}-{os.getpid()}"
        defaults = re.findall(r"image: \$\{(\w+_IMAGE):-(\S+)\}", (COMPOSE / file).read_text())
        chosen = choose_images()
        images = {name: chosen.get(official, official) for name, official in defaults}
        with (folder / ".env").open("a") as stream:
            stream.write("".join(f"{name}={value}\n" for name, value in (images | settings).items()))
        self.command = ["docker", "compose", "--project-name", self.name, "--env-file", str(folder / ".env"), "--file", str(COMPOSE / file)]
        # Compose takes variables of the environment before those of the file.
        ours = credentials.read(folder / ".env").keys() | {"BIND", "BUCKET", "MODEL", "VERSION", "S3_ENDPOINT"}
        self.environment = {name: value for name, value in os.environ.items() if name not in ours and not name.startswith("PAWFLOW")}

    def compose(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*self.command, *arguments], cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=400
        )
        assert not check or done.returncode == 0, f"{shlex.join(arguments)}: {done.stdout}{done.stderr}\n{self.log()}"
        return done

    def log(self) -> str:
        command = [*self.command, "--profile", "*", "logs", "--no-color", "--tail", "2000"]
        return subprocess.run(command, env=self.environment, capture_output=True, text=True).stdout

    def down(self) -> None:
        self.compose("--profile", "*", "down", "--volumes", "--timeout", "20")

    def container(self, service: str) -> str:
        return self.compose("--profile", "*", "ps", "--all", "--quiet", service).stdout.strip()


class Composed(Project, TeamServer):
    """The team server in containers."""

    model = "dogs-vs-cats"

    def __init__(self, folder: Path) -> None:
        TeamServer.__init__(self)
        self._passwords = credentials.ensure(folder / ".env")
        ports = {f"{part.upper()}_PORT": self.address(part).rpartition(":")[2] for part in ("mlflow", "endpoint", "gateway")}
        Project.__init__(self, "compose.yaml", "pawflow-test", folder, ports)

    @property
    def passwords(self) -> dict[str, str]:
        return self._passwords

    def client_environment(self) -> dict[str, str]:
        return {
            **{name: value for name, value in self.environment.items() if not name.startswith(("MLFLOW", "AWS"))},
            "MLFLOW_TRACKING_URI": self.address("mlflow"),
            "MLFLOW_TRACKING_USERNAME": "admin",
            "MLFLOW_TRACKING_PASSWORD": self.passwords["MLFLOW_ADMIN_PASSWORD"],
            "MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD": "false",
        }

    def up(self) -> None:
        """As README of infra says."""
        self.compose("up", "--wait")

    def start_endpoint(self) -> None:
        """As README of infra says for after a promotion."""
        self.compose("--profile", "endpoint", "up", "--wait", "--no-deps", "--force-recreate", "endpoint")

    def kill(self) -> None:
        self.compose("--profile", "endpoint", "kill", "--signal", "KILL")

    def follow_readme(self, *patterns: str) -> None:
        """Run those commands of README of infra, as they stand there, which fit one of the patterns."""
        commands = [command for command in read_commands(README) if any(re.search(pattern, command) for pattern in patterns)]
        assert len(commands) == len(patterns), commands
        for command in commands:
            done = subprocess.run(
                ["bash", "-ec", f"C='{shlex.join(self.command)}'\n{command}"],
                cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=200,
            )  # fmt: skip
            assert done.returncode == 0, f"{command}: {done.stderr}"
