"""Runs, schedules and versions, through kfp's own client against a served API. No cluster takes part."""

from __future__ import annotations

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest
from typer.testing import CliRunner

from components.common.errors import PawflowError
from components.common.recipe import Recipe, parse_recipe
from pipeline.__main__ import app
from pipeline.cluster import Cluster
from pipeline.profile import Profile
from tests.pipeline.kfp_api import Api, serving_kfp


@pytest.fixture
def api() -> Iterator[Api]:
    with serving_kfp() as served:
        yield served


def reach(api: Api) -> Cluster:
    return Cluster(Profile(host=api.address, pipeline_root="s3://bucket/runs", service_account="runner"))


def test_a_run_carries_the_recipe_and_what_the_profile_says(api: Api, recipe: Recipe) -> None:
    submitted = reach(api).submit(recipe, "first")
    assert submitted.link == f"{api.address}/#/runs/details/r-1"
    sent = api.sent("POST", "/runs")
    assert (sent["display_name"], sent["service_account"]) == ("first", "runner")
    assert sent["runtime_config"]["pipeline_root"] == "s3://bucket/runs"
    parameters = sent["runtime_config"]["parameters"]
    assert parse_recipe(parameters["recipe"]) == recipe
    assert parameters["sources"] == ["dogs-vs-cats", "dog-breed-identification"]
    assert parameters["candidates"] == ["cnn", "frozen", "tuned"]
    tasks = sent["pipeline_spec"]["root"]["dag"]["tasks"]
    assert set(tasks) == {"exit-handler-1", "finish"}


@pytest.mark.parametrize("last", ["SUCCEEDED", "FAILED", "CANCELED"])
def test_waiting_reports_each_state_once_and_ends_however_the_run_ends(api: Api, last: str) -> None:
    api.states[-1] = last
    states: list[str] = []
    assert reach(api).wait("r-1", states.append, interval=0.01) == last
    assert states == ["PENDING", "RUNNING", last]


def test_a_schedule_has_six_fields_and_says_what_to_do_about_missed_runs(api: Api, recipe: Recipe) -> None:
    cluster = reach(api)
    with pytest.raises(PawflowError, match=r"has 5 fields, expected 6: second.*'0 0 3 \* \* 1'"):
        cluster.schedule(recipe, "weekly", "0 3 * * 1")
    assert cluster.schedule(recipe, "weekly", "0 0 3 * * 1", concurrency=2) == "s-1"
    sent = api.sent("POST", "/recurringruns")
    assert sent["trigger"] == {"cron_schedule": {"cron": "0 0 3 * * 1"}}
    assert (sent["max_concurrency"], sent["no_catchup"]) == (2, True)


def test_a_version_is_uploaded_and_the_first_one_makes_the_pipeline(api: Api) -> None:
    assert reach(api).upload("0.1.0") == "v-1"
    assert [path for method, path, _, _ in api.asked if method == "POST"] == ["/pipelines/upload", "/pipelines/upload_version"]


def test_a_refusal_is_one_sentence(api: Api, recipe: Recipe) -> None:
    api.refusal = (400, "the namespace is full")
    with pytest.raises(PawflowError) as refused:
        reach(api).submit(recipe, "first")
    assert str(refused.value) == f"Kubeflow Pipelines at {api.address} refuses: the namespace is full (status 400)"


def test_without_an_address_the_ways_to_give_one_are_named() -> None:
    with pytest.raises(PawflowError, match="pass --host, set KF_PIPELINES_ENDPOINT.*port-forward"):
        Cluster(Profile())


def test_nothing_there_is_said_at_once(deserted_address: str) -> None:
    with pytest.raises(PawflowError, match=f"nothing answers at {deserted_address}"):
        Cluster(Profile(host=deserted_address))


@pytest.mark.parametrize(
    ("status", "message"), [(302, "who you are.*KFP_TOKEN"), (401, "who you are"), (200, "expected the address of a KFP 2")]
)
def test_what_is_no_api_is_told_apart(status: int, message: str) -> None:
    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("content-type", "text/html")
            self.end_headers()

    server = HTTPServer(("127.0.0.1", 0), Page)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        with pytest.raises(PawflowError, match=message):
            Cluster(Profile(host=f"http://127.0.0.1:{server.server_port}"))
    finally:
        server.shutdown()
        server.server_close()


def test_the_command_prints_the_link_and_fails_with_the_run(api: Api) -> None:
    api.states = ["FAILED"]
    result = CliRunner().invoke(app, ["submit", "--recipe", "sample", "--host", api.address, "--name", "nightly", "seed=3"])
    assert result.exit_code == 1
    link, state = result.stdout.splitlines()
    assert link == f"submitted {api.address}/#/runs/details/r-1"
    assert state.endswith("failed")
    assert api.sent("POST", "/runs")["display_name"] == "nightly"
