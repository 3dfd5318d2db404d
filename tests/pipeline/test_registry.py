"""The registry commands on a real sqlite registry: ten promotions, roll-backs, refusals, and what they leave in the registry."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient
from typer.testing import CliRunner

from components.common import registry, tracking
from components.common.errors import PawflowError
from components.common.files import VERDICT_FILE
from components.common.recipe import Gate, Recipe
from components.promote.promote import list_objections
from components.register.answers import Answers
from components.register.packaging import keep_with_model, log_model, packed
from pipeline.__main__ import app
from tests.conftest import write_mean_model

TAGS = {"promote": "true", "certificate": "holds", "verdict": "promoted: it is better", "champion_before": "", "candidate": "cnn"}

JUDGED_BY = Gate()


def call(*arguments: str) -> str:
    """Run a command; the message of a refusal is raised, as the shipped command line prints it."""
    result = CliRunner().invoke(app, ["registry", *arguments], env={"COLUMNS": "250"}, catch_exceptions=True)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.output


def call_json(*arguments: str) -> Any:
    return json.loads(call(*arguments, "--json"))


@pytest.fixture
def add_version(recipe: Recipe, tmp_path: Path) -> Any:
    """A function that registers one logged model once more, judged against the champion of the moment."""
    address = log(recipe, tmp_path, num_wrong=5)

    def add(**tags: str) -> str:
        version = registry.create_version(address, "tiny", "float32")
        before = registry.find_version("tiny", registry.CHAMPION) or ""
        registry.describe_version("tiny", version, f"**card of version {version}**", TAGS | {"champion_before": before} | tags)
        return version

    return add


def log(recipe: Recipe, folder: Path, num_wrong: int, first_clean: int = 0, rule: Gate = JUDGED_BY) -> str:
    """Log a model of which the answers on the first `num_wrong` test images are wrong; returns its address."""
    candidate = write_mean_model(folder / "candidate", 32, 1.0)
    with tracking.step_run("register", recipe, ""), packed(candidate, "float32", frozenset({"hash0"})) as served:
        logged = log_model(served, b"photo", {})
    keep_answers(logged.model_id, folder / "kept", num_wrong, first_clean, rule)
    return logged.uri


def keep_answers(model_id: str, folder: Path, num_wrong: int, first_clean: int, rule: Gate) -> None:
    """What registration keeps with a version, for `compare`."""
    folder.mkdir()
    places = np.arange(100)
    rows = pd.DataFrame(
        {"id": places.astype(str), "sha256": [f"hash{place}" for place in places], "label": "cat", "group": places.astype(str)}
    )
    probabilities = np.where((places < num_wrong)[:, np.newaxis], [0.2, 0.8], [0.8, 0.2])
    Answers(("cat", "dog"), rows.assign(clean=places >= first_clean), probabilities).save(folder / registry.ANSWERS_FILE)
    own = {"log_loss": 0.3, "latency_ms": 1.25, "megabytes": 2.0}
    (folder / VERDICT_FILE).write_text(json.dumps({"rule": rule.model_dump(mode="json"), "challenger": own}))
    keep_with_model(model_id, folder)


def test_history_and_rollback_after_ten_promotions(add_version: Any) -> None:
    for _ in range(10):
        add_version()
        call("promote")
    assert (registry.find_version("tiny", "champion"), registry.find_version("tiny", "previous")) == ("10", "9")
    assert registry.find_version("tiny", "challenger") is None

    assert "version 9 is the champion again" in call("rollback", "--reason", "it takes foxes for dogs")
    call("rollback")
    assert (registry.find_version("tiny", "champion"), registry.find_version("tiny", "previous")) == ("8", "7")

    events = call_json("history")
    assert [event["version"] for event in events] == [*(str(number) for number in range(1, 11)), "9", "8"]
    assert [event["before"] for event in events] == [None, *(str(number) for number in range(1, 11)), "9"]
    assert events == sorted(events, key=lambda event: event["when"])
    assert events[-2]["reason"] == "it takes foxes for dogs"
    assert events[0]["verdict"] == "promoted: it is better"
    assert all("@" in event["who"] and not event["forced"] for event in events)
    said = call("history")
    assert said.startswith("champions of tiny:")
    assert "it takes foxes for dogs" in said

    with pytest.raises(PawflowError, match="version 10 is not promoted: it was rolled back: it takes foxes for dogs"):
        call("promote", "10")


def test_what_the_rules_forbid_needs_force_and_a_reason(add_version: Any) -> None:
    add_version()
    call("promote")
    kept = add_version(promote="false", verdict="kept the champion: a tie")
    for arguments in ((), ("--force",), ("--reason", "because"), ("--force", "--reason", " ")):
        with pytest.raises(PawflowError, match="does not allow a promotion: kept the champion: a tie.* give --force and --reason"):
            call("promote", kept, *arguments)
    assert registry.find_version("tiny", "champion") == "1"
    assert "version 2 is the champion now; version 1 is kept" in call("promote", kept, "--force", "--reason", "night photos")
    last = call_json("history")[-1]
    assert (last["version"], last["forced"], last["reason"]) == ("2", True, "night photos")
    with pytest.raises(PawflowError, match="is the champion already"):
        call("promote", kept, "--force", "--reason", "again")


@pytest.mark.parametrize(
    ("tags", "champion", "objection"),
    [
        (TAGS, None, None),
        (TAGS | {"champion_before": "3"}, "3", None),
        (TAGS | {"champion_before": "3"}, "4", "compared with champion 3, but the champion is now 4"),
        (TAGS, "4", "compared with champion none, but the champion is now 4"),
        (TAGS | {"champion_before": "3"}, None, "compared with champion 3, but the champion is now none"),
        (TAGS | {"promote": "false"}, None, "does not allow a promotion"),
        (TAGS | {"certificate": "does not hold"}, None, "no parity certificate"),
        ({}, None, "it has none"),
        (TAGS | {"rolled_back": "foxes"}, None, "rolled back: foxes"),
    ],
)
def test_the_rules_of_promotion(tags: dict[str, str], champion: str | None, objection: str | None) -> None:
    objections = list_objections(tags, champion)
    assert (objection is None) == (not objections)
    assert objection is None or objection in "; ".join(objections)


def test_rollback_never_returns_to_what_was_taken_away_or_deleted(add_version: Any) -> None:
    for _ in range(4):
        add_version()
        call("promote")
    call("promote", "2", "--force", "--reason", "on trial")
    registry.delete_version("tiny", "3")
    assert "version 4 is the champion again; version 2 was rolled back" in call("rollback")
    assert registry.find_version("tiny", "previous") == "1"
    assert "version 1 is the champion again; version 4 was rolled back" in call("rollback")
    with pytest.raises(PawflowError, match="no previous champion to go back to"):
        call("rollback")
    # Who forces a version that was taken away takes it back into the fold.
    call("promote", "2", "--force", "--reason", "better than nothing")
    assert "rolled_back" not in registry.get_version("tiny", "2").tags


@pytest.mark.parametrize("last", ["set_registered_model_tag", "previous", "champion"])
def test_a_promotion_that_was_killed_is_completed_by_the_next_attempt(last: str, add_version: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(2):
        add_version()
        call("promote")
    version = add_version()

    def die_after(write: Any, *names: str) -> Any:
        def call_once(self: Any, *arguments: str) -> None:
            write(self, *arguments)
            if set(names) & set(arguments) or not names:
                raise KeyboardInterrupt

        return call_once

    with monkeypatch.context() as killed:
        method = last if last.startswith("set") else "set_registered_model_alias"
        names = () if last.startswith("set") else (last,)
        killed.setattr(MlflowClient, method, die_after(getattr(MlflowClient, method), *names))
        with pytest.raises(KeyboardInterrupt):
            registry.promote("tiny", version, "2", reason="verdict")
    registry.promote("tiny", version, "2", reason="verdict")
    assert [registry.find_version("tiny", alias) for alias in ("champion", "previous", "challenger")] == ["3", "2", None]
    assert [event["version"] for event in call_json("history")] == ["1", "2", "3"]


@pytest.mark.parametrize(("reason", "forced"), [("the incident is over", False), ("verdict", True)])
def test_a_move_that_was_undone_by_hand_is_written_again(reason: str, forced: bool, add_version: Any) -> None:
    """Somebody moves the alias in MLflow itself, which writes no history; the same move for another reason is another one."""
    for _ in range(2):
        add_version()
    registry.promote("tiny", "1", None, reason="first")
    registry.promote("tiny", "2", "1", reason="verdict")
    MlflowClient().set_registered_model_alias("tiny", "champion", "1")
    assert registry.promote("tiny", "2", "1", reason=reason, forced=forced) == registry.read_history("tiny")[-1]
    written = [(event.version, event.reason, event.forced) for event in registry.read_history("tiny")]
    assert written == [("1", "first", False), ("2", "verdict", False), ("2", reason, forced)]


def test_a_rollback_that_was_killed_goes_back_once(add_version: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(3):
        add_version()
        call("promote")

    def die(*arguments: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as killed:
        killed.setattr(registry, "_set_previous", die)
        with pytest.raises(KeyboardInterrupt):
            registry.roll_back("tiny", "foxes")
    assert registry.roll_back("tiny", "foxes").version == "2"
    assert [registry.find_version("tiny", alias) for alias in ("champion", "previous")] == ["2", "1"]
    assert [event["action"] for event in call_json("history")].count("rolled back") == 1


def test_rollback_with_nothing_to_go_back_to(add_version: Any) -> None:
    add_version()
    call("promote")
    with pytest.raises(PawflowError, match=r"no previous champion to go back to \(champion: 1, previous: none\)"):
        call("rollback")
    assert registry.find_version("tiny", "champion") == "1"


def test_reading_commands(add_version: Any, tmp_path: Path) -> None:
    add_version()
    call("promote")
    add_version(promote="false", verdict="refused: [slow]")
    entries = call_json("list")
    assert [(entry["version"], entry["aliases"]) for entry in entries] == [("1", ["champion"]), ("2", ["challenger"])]
    assert "refused: [slow]" in call("list")
    assert "card of version 1" in call("show")
    assert call_json("show", "challenger", "--model", "tiny")["version"] == "2"
    with pytest.raises(PawflowError, match="has no 'previous'; its aliases: challenger, champion"):
        call("show", "previous")
    with pytest.raises(PawflowError, match="has no version 7; it has 1, 2"):
        call("show", "7")
    with pytest.raises(PawflowError, match="no registered model 'sample'; there are: tiny"):
        call("show", "--recipe", "sample")
    compared = call_json("compare", "challenger")
    assert compared["images"] == 99, "one test image is among those that it was trained on"
    assert compared["p_value"] == 1.0
    assert compared["first"]["accuracy"] == compared["second"]["accuracy"] == pytest.approx(95 / 99, abs=1e-4)
    assert "McNemar" in call("compare", "2", "1")
    assert call("compare", "1").strip() == "both are tiny version 1, so there is nothing to compare"


@pytest.mark.parametrize(("first", "second", "sign"), [("1", "2", "+"), ("2", "1", "-")])
def test_a_comparison_says_which_version_is_better(first: str, second: str, sign: str, recipe: Recipe, tmp_path: Path) -> None:
    for num_wrong in (5, 20):
        address = log(recipe, tmp_path / str(num_wrong), num_wrong)
        registry.describe_version("tiny", registry.create_version(address, "tiny", "float32"), "card", TAGS)
    said = call_json("compare", first, second, "--model", "tiny")["statement"]
    # 15 of the 99 images are answered with a probability of 0.2 in place of 0.8.
    assert f"the gain in accuracy of version {first} over version {second} is {sign}0.1515 (" in said
    assert f"log-loss of version {second} minus that of version {first}: {sign}0.2100 (" in said


@pytest.mark.parametrize(
    ("first_clean", "rule", "images", "left_out", "said"),
    [
        (20, JUDGED_BY, 80, 19, "is [+]0.0000 [(].* Left out, because source or file give the class away: 19.$"),
        (20, Gate(confounding="report"), 99, 0, "is [+]0.1515 [(].*[)][.]$"),
        (100, JUDGED_BY, 99, 0, "Source or file give the class of all of them away.$"),
    ],
)
def test_images_that_the_gate_would_not_judge_by_are_not_compared(
    first_clean: int, rule: Gate, images: int, left_out: int, said: str, recipe: Recipe, tmp_path: Path
) -> None:
    """The versions differ on images 5 to 19, and the first 20 are those that give their class away; image 0 was trained on."""
    for num_wrong in (5, 20):
        address = log(recipe, tmp_path / str(num_wrong), num_wrong, first_clean, rule)
        registry.describe_version("tiny", registry.create_version(address, "tiny", "float32"), "card", TAGS)
    compared = call_json("compare", "1", "2", "--model", "tiny")
    assert (compared["images"], compared["left_out"]) == (images, left_out)
    assert re.search(said, compared["statement"])


def test_a_verdict_can_be_read_in_80_columns(add_version: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    add_version(candidate="lite0_frozen_int8", verdict="refused: accuracy 0.5000 does not clear the floor of 0.8, as is told in a sentence")
    listed = call("list")
    for whole in ("tiny 1", "lite0_frozen_int8", "challenger", "refused: accuracy 0.5000 does not clear"):
        assert whole in listed


def test_a_version_from_before_the_prefix_is_read_like_any_other(add_version: Any) -> None:
    version = add_version()
    client = MlflowClient()
    for name in TAGS:
        client.delete_model_version_tag("tiny", version, f"pawflow.{name}")
    for name, value in {**TAGS, "promote": "", "verdict": "promote", "reason": TAGS["verdict"]}.items():
        if value:
            client.set_model_version_tag("tiny", version, name, value)
    client.set_model_version_tag("tiny", add_version(), "reason", "of somebody else")
    entry, other = registry.list_versions("tiny")
    assert (other.tags["reason"], other.tags["verdict"]) == ("of somebody else", TAGS["verdict"])
    assert TAGS.items() - {("champion_before", "")} <= entry.tags.items()
    call("promote", version)
    assert registry.read_history("tiny")[0].verdict == "promoted: it is better"


def test_files_that_are_lost_are_named_with_the_remedy(add_version: Any, tmp_path: Path) -> None:
    add_version()
    for file in tmp_path.rglob(registry.ANSWERS_FILE):
        file.unlink()
    with pytest.raises(PawflowError, match=r"tiny version 1 has no .* that can be read \(.*\); restore MLflow's artifacts") as caught:
        registry.fetch("tiny", "1", registry.ANSWERS_FILE)
    assert len(str(caught.value).splitlines()) == 1


def test_every_page_of_a_long_registry_is_read(add_version: Any) -> None:
    """MLflow gives a hundred models at a time, by their names."""
    for number in range(100):
        MlflowClient().create_registered_model(f"a{number}")
    registry.promote("tiny", add_version(), None, reason="first")
    assert registry.newest_champion() == "tiny"
    assert [entry.model for entry in registry.list_versions()] == ["tiny"]
    with pytest.raises(PawflowError, match="known ones: a0, .*a99, tiny;"):
        registry.require_champion("nobody")


@pytest.mark.parametrize("command", ["registry list", "registry show", "registry rollback --reason x", "predict photo.jpg"])
def test_a_server_that_is_not_there_is_said_at_once(command: str, deserted_address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow would try for minutes, without a word."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", deserted_address)
    with pytest.raises(PawflowError, match=f"no MLflow server answers at MLFLOW_TRACKING_URI={deserted_address}"):
        CliRunner().invoke(app, command.split(), catch_exceptions=False)


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ("tiny", "has no champion; `.* list --model tiny` shows its versions"),
        ("tinny", "no registered model 'tinny'; did you mean 'tiny'"),
    ],
)
def test_a_model_without_a_champion_says_why(model: str, reason: str, add_version: Any) -> None:
    add_version(promote="false", verdict="refused: [slow]")
    with pytest.raises(PawflowError, match=reason):
        CliRunner().invoke(app, ["predict", "photo.jpg", "--model", model], catch_exceptions=False)


def test_an_empty_registry_says_what_to_do() -> None:
    assert "no model is registered yet" in call("list")
    assert call_json("list") == []
    with pytest.raises(PawflowError, match="make run"):
        call("show")


def test_a_long_reason_and_a_long_verdict_fit(add_version: Any) -> None:
    add_version(verdict='"' * 9000)
    call("promote", "--reason", "\\ü\n\x07" * 5000)
    (event,) = registry.read_history("tiny")
    assert event.reason.startswith("\\ü \\ü")
    tags = MlflowClient().get_registered_model("tiny").tags
    assert max(map(len, tags.values())) <= registry.LONGEST_TEXT
