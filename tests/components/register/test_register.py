"""Versions, aliases and verdicts, with real models in a real sqlite registry; the endpoint is started in test_certificate.py."""

from __future__ import annotations

import json
import re
import threading
from dataclasses import replace
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest

from components.common import registry, tracking
from components.common.confounding import find_clean
from components.common.dataset import Dataset
from components.common.errors import PawflowError
from components.common.files import PREDICTIONS_FILE
from components.common.metrics import find_interval
from components.common.recipe import Recipe
from components.common.registry import ServedModel
from components.promote.run import run as promote
from components.register.answers import ask, read_predictions
from components.register.certificate import Certificate, pick_golden_photos
from components.register.model_card import write_card
from components.register.packaging import log_model, packed
from components.register.publishing import publish, registered
from components.register.register import Judgement, Verdict, describe_run, judge, state_verdict
from components.register.selection import Choice
from components.register.serving_form import ServingForm
from serving.predictor import Predictor
from tests.components.register.conftest import Evaluated, evaluate_model
from tests.conftest import write_mean_model

ONLY = Choice("cnn", "cnn", (), ("cnn",), 20, "cnn is the only one")
CERTIFICATE = Certificate("digest", 32, "float32", "there is one network", None, 1e-4, {"Keras against ONNX": 1e-7}, 5.0, 9.0)


def judge_candidate(evaluated: Evaluated, champion: ServedModel | None, dataset: Dataset, recipe: Recipe) -> tuple[Judgement, ServingForm]:
    answers = read_predictions(evaluated.evaluation / PREDICTIONS_FILE, "test", dataset, find_clean(dataset, "test"))["cnn"]
    form = ServingForm("float32", "there is one network", answers)
    return judge(evaluated.candidate, form, champion, CERTIFICATE, dataset, recipe), form


def decide_alone(evaluated: Evaluated, failed: dict[str, str], dataset: Dataset, recipe: Recipe) -> tuple[Verdict, ServingForm]:
    """The verdict about a candidate where there is no champion."""
    judgement, form = judge_candidate(evaluated, None, dataset, recipe)
    metrics = json.loads((evaluated.evaluation / "metrics.json").read_text())["candidates"]["cnn"]
    return state_verdict(judgement, "7", ONLY, metrics, failed, None, dataset, recipe), form


def register(evaluated: Evaluated, dataset: Dataset, recipe: Recipe, out: Path) -> str:
    """The register step without the endpoint, which takes seconds to start."""
    before = registry.find_version(recipe.model, registry.CHAMPION)
    champion = registry.download_version(recipe.model, before) if before else None
    judgement, form = judge_candidate(evaluated, champion, dataset, recipe)
    results = json.loads((evaluated.evaluation / "metrics.json").read_text())["candidates"]["cnn"]
    golden = pick_golden_photos(dataset)
    with tracking.step_run("register", recipe, ""), registered(evaluated.candidate, form, golden, dataset, recipe) as made:
        verdict = state_verdict(judgement, made.version, ONLY, results, {}, before, dataset, recipe)
        publish(made, verdict, CERTIFICATE, dataset, recipe, "")
    out.mkdir()
    verdict.write(out)
    return "promote" if verdict.promote else "keep"


@pytest.fixture(scope="module")
def rivals(tmp_path_factory: pytest.TempPathFactory, dataset: Dataset) -> tuple[Evaluated, Evaluated]:
    """One that leans to dogs, of which there are more, and one that leans to cats: the better and the worse."""
    better, worse = (evaluate_model(tmp_path_factory.mktemp("rival"), dataset, bias) for bias in (2.0, -2.0))
    return better, worse


def test_images_that_the_champion_was_trained_on_are_left_out(
    dataset: Dataset, rivals: tuple[Evaluated, Evaluated], one_candidate: Recipe
) -> None:
    better, worse = rivals
    hashes = list(dataset.rows("test")["sha256"])
    whole = judge_candidate(better, ServedModel("1", worse.candidate, frozenset()), dataset, one_candidate)[0].comparison
    assert whole is not None
    assert (whole.num_images, whole.num_left_out) == (len(hashes), 0)
    assert whole.challenger + whole.champion == pytest.approx(1.0, abs=0.1)
    assert whole.gain.low > 0
    part = judge_candidate(better, ServedModel("1", worse.candidate, frozenset(hashes[10:])), dataset, one_candidate)[0].comparison
    assert part is not None
    assert (part.num_images, part.num_left_out) == (10, len(hashes) - 10)
    none = judge_candidate(better, ServedModel("1", worse.candidate, frozenset(hashes)), dataset, one_candidate)[0]
    assert not none.decision.promote
    assert "refused: only 0 test images are new to the champion" in none.decision.verdict


def test_a_model_that_answers_nan_is_refused(dataset: Dataset, rivals: tuple[Evaluated, Evaluated], one_candidate: Recipe) -> None:
    better, worse = rivals
    answers = read_predictions(better.evaluation / PREDICTIONS_FILE, "test", dataset, find_clean(dataset, "test"))["cnn"]
    broken = answers.probabilities.copy()
    broken[3] = np.nan
    form = ServingForm("float32", "there is one network", replace(answers, probabilities=broken))
    for champion in (None, ServedModel("1", worse.candidate, frozenset())):
        judgement = judge(better.candidate, form, champion, CERTIFICATE, dataset, one_candidate)
        assert not judgement.decision.promote
        assert "accuracy of the challenger is not a number" in judgement.decision.verdict


def test_a_champion_of_other_classes_is_not_compared(dataset: Dataset, tmp_path: Path) -> None:
    champion = write_mean_model(tmp_path / "b", dataset.image_size, 1.0, classes=("bird", "boat"))
    with pytest.raises(PawflowError, match="knows the classes"):
        ask(Predictor(champion, "4"), dataset, dataset.rows("test"), "comparing")


def test_a_champion_is_asked_about_the_encoded_photos_in_their_order(dataset: Dataset, rivals: tuple[Evaluated, Evaluated]) -> None:
    better, _ = rivals
    expected = read_predictions(better.evaluation / PREDICTIONS_FILE, "test", dataset, find_clean(dataset, "test"))["cnn"]
    asked = ask(Predictor(better.candidate), dataset, expected.rows, "asking")
    assert asked.probabilities == pytest.approx(expected.probabilities, abs=1e-6)


def test_versions_aliases_and_verdicts(
    dataset: Dataset, one_candidate: Recipe, rivals: tuple[Evaluated, Evaluated], tmp_path: Path
) -> None:
    """First champion; the same model again (a tie); its opposite; one that was judged before the champion changed."""
    text, (better, worse) = one_candidate.model_dump_json(), rivals
    outcomes = []
    for name, evaluated in (("first", worse), ("tie", worse), ("better", better), ("worse", worse)):
        outcomes.append(register(evaluated, dataset, one_candidate, tmp_path / name))
        if outcomes[-1] == "promote":
            promote(recipe=text, verdict=tmp_path / name)
        else:
            with pytest.raises(PawflowError, match="does not allow a promotion"):
                promote(recipe=text, verdict=tmp_path / name)
    assert outcomes == ["promote", "keep", "promote", "keep"]
    aliases = {alias: registry.find_version("tiny", alias) for alias in ("champion", "challenger", "previous")}
    assert aliases == {"champion": "3", "challenger": "4", "previous": "1"}
    with pytest.raises(PawflowError, match="compared with champion none, but the champion is now 3"):
        promote(recipe=text, verdict=tmp_path / "first")
    assert registry.find_version("tiny", "champion") == "3"

    champion = registry.get_version("tiny", "3")
    assert champion.tags["dataset_digest"] == dataset.digest
    assert champion.tags["promote"] == "true"
    assert champion.tags["serve"] == "float32"
    assert json.loads(registry.fetch("tiny", "3", registry.CERTIFICATE_FILE).read_text())["holds"]
    check_the_model_card(champion)
    check_the_registered_model(dataset)


def test_what_a_killed_register_step_left_is_deleted_by_the_next(
    dataset: Dataset, one_candidate: Recipe, rivals: tuple[Evaluated, Evaluated], tmp_path: Path
) -> None:
    """And neither what another one works on, nor a finished version without alias, nor one that a person has given an alias."""
    photo = next(iter(pick_golden_photos(dataset).values()))
    for status in ("KILLED", "KILLED", "RUNNING"):
        with tracking.step_run("register", one_candidate, ""), packed(rivals[0].candidate, "float32", frozenset()) as folder:
            registry.create_version(log_model(folder, photo, {}).uri, "tiny", "float32")
            run = mlflow.active_run()
        assert run is not None
        mlflow.MlflowClient().update_run(run.info.run_id, status=status)
    mlflow.MlflowClient().set_registered_model_alias("tiny", "mine", "2")
    register(rivals[0], dataset, one_candidate, tmp_path / "first")
    register(rivals[0], dataset, one_candidate, tmp_path / "second")
    left_over = {entry.version: (entry.aliases, entry.tags.get("promote")) for entry in registry.list_versions("tiny")}
    assert left_over == {"2": (("mine",), None), "3": ((), None), "4": ((), "true"), "5": (("challenger",), "true")}


def check_the_model_card(champion: registry.Entry) -> None:
    page = registry.fetch("tiny", champion.version, registry.CARD_PAGE).read_text()
    for text in (champion.description, page):
        for expected in (
            "promoted: accuracy",
            "What the gate judged",
            "on test images of every kind. But all are drawn.",
            "generated",
            champion.tags["dataset_digest"],
            "drawn for tests",
            "CPU-seconds",
            "source dogs-vs-cats",
        ):
            assert expected in text
    assert len(champion.description) <= registry.LONGEST_TEXT
    assert "<script" not in page
    assert "http" not in page


def test_the_description_of_a_pipeline_run_is_short_and_says_what_came_of_it(
    dataset: Dataset, one_candidate: Recipe, rivals: tuple[Evaluated, Evaluated]
) -> None:
    verdict, _ = decide_alone(rivals[0], {}, dataset, one_candidate)
    made, winner, headline, decision, where = describe_run(verdict, one_candidate).split("\n\n")
    assert made == f"Recipe tiny; candidates: cnn; dataset `{dataset.digest}`, **generated** images"
    assert winner == "**Winner**: cnn, now version 7 of tiny"
    assert re.match(r"\*\*Headline\*\*: \d+ errors in \d+ images, accuracy \d+\.\d % \(", headline)
    assert headline.endswith("), on test images of every kind. But all are drawn.")
    assert decision.startswith("**Verdict**: promoted: accuracy")
    assert "`evaluate`" in where


def test_names_from_strangers_are_text_in_the_model_card(
    dataset: Dataset, one_candidate: Recipe, rivals: tuple[Evaluated, Evaluated]
) -> None:
    verdict, form = decide_alone(rivals[0], {"odd": "no <b>weights</b> |"}, dataset, one_candidate)
    strange = Dataset(dataset.folder)
    strange.report["sources"] = [{"name": "odd | one\n", "origin": "<script>alert(1)</script>", "terms": "[none](http://x)"}]
    card = write_card(verdict, CERTIFICATE, form.answers, strange, one_candidate.candidates[0], {})
    assert "&lt;script&gt;" in card.page
    assert "<script" not in card.page
    assert r"\<script\>" in card.markdown
    assert "odd \\| one: " in card.markdown
    assert "Candidate <code>odd</code> failed: no &lt;b&gt;weights" in card.page
    assert r"Candidate `odd` failed: no \<b\>weights" in card.markdown
    assert r"\[none\](http" in card.markdown


def test_intervals_of_slices_in_the_model_card_know_the_groups(
    dataset: Dataset, one_candidate: Recipe, rivals: tuple[Evaluated, Evaluated]
) -> None:
    verdict, form = decide_alone(rivals[0], {}, dataset, one_candidate)
    card = write_card(verdict, CERTIFICATE, form.answers, dataset, one_candidate.candidates[0], {})
    breeds = form.answers.take((form.answers.rows["source"] == "dog-breed-identification").to_numpy())
    right = breeds.probabilities.argmax(axis=1) == breeds.labels
    low, high = find_interval(right, breeds.groups)
    assert low < find_interval(right, None)[0] - 0.001
    assert f"<td>{low:.4f} to {high:.4f}</td>" in card.page


def check_the_registered_model(dataset: Dataset) -> None:
    model = mlflow.pyfunc.load_model("models:/tiny@champion")
    assert model.metadata.signature.inputs.to_dict() == [{"type": "binary", "name": "image", "required": True}]
    requirements = Path(mlflow.artifacts.download_artifacts("models:/tiny@champion")) / "requirements.txt"
    assert "tensorflow" not in requirements.read_text()
    assert all("==" in line for line in requirements.read_text().split())
    _, data = next(dataset.originals())
    (answer,) = model.predict(pd.DataFrame({"image": [data]}))
    assert {"label", "probability", "probabilities", "not_sure", "model_version", "dataset_digest"} <= set(answer)
    assert answer["model_version"] == "3"
    assert answer["probability"] == max(answer["probabilities"].values())
    with pytest.raises(mlflow.exceptions.MlflowException, match="row 0: .*not an image"):
        model.predict(pd.DataFrame({"image": [b"camera shy"]}))


def test_two_runs_that_race_for_the_alias_end_in_one_state(
    dataset: Dataset, one_candidate: Recipe, rivals: tuple[Evaluated, Evaluated], tmp_path: Path
) -> None:
    """Both were judged while there was no champion; one becomes it, the other is told that its verdict is out of date."""
    for name in ("one", "two"):
        assert register(rivals[0], dataset, one_candidate, tmp_path / name) == "promote"
    barrier, refusals = threading.Barrier(2), []

    def race(version: str) -> None:
        barrier.wait()
        try:
            registry.promote("tiny", version, None, reason="a race")
        except PawflowError as error:
            refusals.append(str(error))

    threads = [threading.Thread(target=race, args=(version,)) for version in ("1", "2")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refusals) == 1
    assert "was compared with champion none, but the champion is now" in refusals[0]
    (event,) = registry.read_history("tiny")
    assert registry.find_version("tiny", "champion") == event.version
    assert registry.find_version("tiny", "previous") is None
