"""The registry as the gateway reads it: real versions in a real sqlite registry."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import mlflow
import pytest

from serving.drift import REFERENCE_FILE
from serving.gateway.fleet import Fleet, NotServedError
from serving.gateway.sources import FolderSource, RegistrySource, SourceError, UnknownVersionError, Version
from serving.predictor import CARD_FILE, INT8_FILE, MODEL_FILE, SERVE_TAG
from tests.conftest import write_mean_model
from tests.serving.http import draw
from tests.serving.registering import register

BRIGHT = draw(255)


def test_a_fleet_follows_the_registry(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="say which model to serve with --model; models with a champion: none"):
        RegistrySource()
    first = register(write_mean_model(tmp_path / "first", 32, 2.0), "pets", BRIGHT)
    folder = write_mean_model(tmp_path / "second", 32, 2.0)
    shutil.copy(write_mean_model(tmp_path / "other", 32, -2.0) / "model.onnx", folder / INT8_FILE)
    second = register(folder, "pets", BRIGHT)
    client = mlflow.MlflowClient()
    for number in range(100):
        # Before the model in the order of names, and as many as MLflow gives at a time.
        client.create_registered_model(f"a{number}")
    client.set_registered_model_alias("pets", "champion", first)

    fleet = Fleet(RegistrySource())
    assert fleet.refresh()
    assert not fleet.refresh()
    assert list(fleet.leaders) == ["champion"]
    before = fleet.leaders["champion"]
    assert (before.number, before.precision, before.predictor.predict(BRIGHT)["label"]) == ("1", "float32", "dog")

    client.set_model_version_tag("pets", second, SERVE_TAG, "int8")
    client.set_registered_model_alias("pets", "champion", second)
    client.set_registered_model_alias("pets", "previous", first)
    assert fleet.refresh()
    after = fleet.leaders["champion"]
    assert (after.number, after.precision, after.predictor.predict(BRIGHT)["label"]) == ("2", "int8", "cat")
    assert before.predictor.predict(BRIGHT)["label"] == "dog", "a request that holds the old version goes on"

    assert fleet.find("previous") is None
    assert fleet.load("previous").number == "1"
    assert fleet.find("1") is fleet.load("previous")
    for name in ("3", "01", "nobody", "../1", "1' OR 1", ""):
        with pytest.raises(NotServedError, match="aliases: champion \\(version 2\\), previous \\(version 1\\)"):
            fleet.load(name)

    client.delete_registered_model_alias("pets", "champion")
    fleet.refresh()
    assert fleet.leaders == {}
    assert "no champion" in fleet.problem


def test_a_champion_that_cannot_be_loaded_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = {alias: write_mean_model(tmp_path / alias, 32, weight) for alias, weight in (("champion", 1.0), ("next", 2.0))}
    source = FolderSource(folders)
    fleet, broken = Fleet(source), source.read_aliases()["next"]
    fleet.refresh()
    champion = fleet.leaders["champion"]
    (folders["next"] / "model.json").write_text("{}")
    for number, problem in ((broken, f"champion version {broken} cannot be served"), ("nothing", "there is no version nothing")):
        monkeypatch.setattr(source, "read_aliases", lambda number=number: {"champion": number})
        assert not fleet.refresh()
        assert fleet.leaders == {"champion": champion}
        assert fleet.problem == f"champion stays as it was: {problem}"
    with pytest.raises(UnknownVersionError):
        source.load("nothing")


def test_what_nobody_has_foreseen_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fleet = Fleet(FolderSource({"champion": write_mean_model(tmp_path / "model", 32, 1.0)}))

    def fail(number: str) -> Version:
        raise OSError(28, "No space left on device", "/tmp/pawflow-secret")

    with monkeypatch.context() as broken:
        broken.setattr(fleet.source, "load", fail)
        assert not fleet.refresh()
    assert fleet.problem == "champion stays as it was: something unforeseen went wrong, which the log names"
    assert "No space left on device: '/tmp/pawflow-secret'" in fleet.detail
    assert fleet.refresh()
    assert not fleet.problem


def test_a_version_that_cannot_be_had_is_asked_for_once_until_the_next_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fleet = Fleet(FolderSource({"champion": write_mean_model(tmp_path / "model", 32, 1.0)}))
    asked: list[str] = []

    def fail(number: str) -> Version:
        asked.append(number)
        raise SourceError(f"version {number} cannot be served", "/tmp/pawflow-secret")

    fleet.refresh()
    monkeypatch.setattr(fleet.source, "load", fail)
    for _ in range(3):
        with pytest.raises(SourceError, match="^version 7 cannot be served$"):
            fleet.load("7")
    fleet.refresh()
    with pytest.raises(SourceError):
        fleet.load("7")
    assert asked == ["7", "7"]


def test_the_guest_that_nobody_has_asked_for_the_longest_goes(tmp_path: Path) -> None:
    aliases = ("champion", "a", "b", "c")
    fleet = Fleet(FolderSource({alias: write_mean_model(tmp_path / alias, 32, weight) for weight, alias in enumerate(aliases)}))
    fleet.refresh()
    guests = [fleet.load(alias) for alias in ("a", "b")]
    assert fleet.find("a") is guests[0]
    fleet.load("c")
    assert [fleet.find(alias) for alias in ("a", "b")] == [guests[0], None]


def test_the_address_of_a_registry_and_its_password_are_for_nobody(deserted_address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", deserted_address.replace("//", "//reader:secret@"))
    source = RegistrySource("pets")
    with pytest.raises(SourceError) as raised:
        source.read_aliases()
    assert str(raised.value) == "the registry does not answer as it should"
    assert deserted_address in raised.value.explain()
    assert "secret" not in raised.value.explain()


@pytest.mark.parametrize("file", [CARD_FILE, INT8_FILE, REFERENCE_FILE])
def test_folders_that_differ_in_anything_served_are_two_versions(tmp_path: Path, file: str) -> None:
    folder = write_mean_model(tmp_path / "model", 32, 1.0)
    for name in (INT8_FILE, REFERENCE_FILE):
        shutil.copy(folder / MODEL_FILE, folder / name)
    folders = {alias: shutil.copytree(folder, tmp_path / alias) for alias in ("champion", "challenger", "same")}
    with (folders["challenger"] / file).open("a") as stream:
        stream.write(" ")
    aliases = FolderSource(folders, int8=True).read_aliases()
    assert aliases["champion"] == aliases["same"] != aliases["challenger"]


def test_eight_bits_that_are_not_there_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"has no 8-bit network \(model.int8.onnx\); leave out --int8"):
        FolderSource({"champion": write_mean_model(tmp_path / "model", 32, 1.0)}, int8=True)


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"is no model folder: expected model\.onnx and model\.json"):
        FolderSource({"champion": tmp_path})


def test_the_gateway_is_light() -> None:
    code = "import sys, serving.gateway.__main__; print(*sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[3]).stdout
    assert not {"tensorflow", "keras", "mlflow", "pandas", "sklearn", "kfp", "components", "sqlalchemy"} & set(loaded.split())
