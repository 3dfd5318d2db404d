"""Disks that are full or may not be written, and a cache that has been damaged."""

from __future__ import annotations

import random
import resource
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.reliability.campaign import Place, Report, wait_for_quiet

pytestmark = pytest.mark.reliability

Expected = tuple[Place, dict[str, Any]]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system in memory."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1g", "pawflow-test", str(folder)], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"a small file system needs root: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def remount(disk: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(disk)], check=True)


def size_of(folder: Path) -> int:
    """Bytes on disk; files that have several names count once."""
    return sum({(stat.st_dev, stat.st_ino): stat.st_blocks * 512 for stat in map(Path.stat, folder.rglob("*"))}.values())


@pytest.mark.parametrize("share", [0.15, 0.55, 0.9])
def test_a_full_disk(place: Place, disk: Path, report: Report, undisturbed: Expected, share: float) -> None:
    megabytes = max(1, int(share * size_of(undisturbed[0].home) / 1e6))
    place.environment["PAWFLOW_HOME"] = str(disk / "home")
    remount(disk, f"size={megabytes}m")
    with report.row("disk full", f"at {megabytes} MB, {100 * share:.0f} % of what a run needs") as told:
        sentence = place.start().fail()
        told.append(f"exit code 2: “{sentence.partition(': ')[2] or sentence}”")
        remount(disk, "size=1g")
        place.complete()
        shutil.copytree(disk / "home" / "runs", place.home / "runs")
        assert place.result() == undisturbed[1]
        told.append("with more space: as the undisturbed run")


def test_a_full_disk_for_mlflow_too(disk: Path, report: Report, undisturbed: Expected) -> None:
    place = Place(disk / "place")
    megabytes = max(1, int(0.6 * size_of(undisturbed[0].folder) / 1e6))
    remount(disk, f"size={megabytes}m")
    with report.row("disk full, MLflow's database on it", f"at {megabytes} MB") as told:
        sentence = place.start().fail()
        told.append(f"exit code 2: “{sentence[:160]}”")
        remount(disk, "size=1g")
        place.complete()
        assert place.result() == undisturbed[1]
        told.append("with more space: as the undisturbed run")
        wait_for_quiet(place)


def test_files_that_may_not_grow(place: Place, report: Report, undisturbed: Expected) -> None:
    with report.row("files limited to 300 kB (`ulimit -f`)") as told:
        sentence = place.start(prefix=("prlimit", "--fsize=300000")).fail()
        told.append(f"exit code 2: “{sentence[:160]}”")
        place.complete()
        assert place.result() == undisturbed[1]
        told.append("without the limit: as the undisturbed run")
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY, "of the command alone"


def test_a_cache_that_may_not_be_written(place: Place, disk: Path, report: Report, undisturbed: Expected) -> None:
    place.environment["PAWFLOW_HOME"] = str(disk / "home")
    remount(disk, "ro")
    with report.row("read-only cache", "from the start") as told:
        sentence = place.start().fail()
        told.append(f"exit code 2: “{sentence[:160]}”")
    remount(disk, "rw")
    with report.row("read-only cache", "from the training on") as told:
        run = place.start()
        run.wait_for_step("train frozen")
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], capture_output=True)
        if subprocess.run(["touch", str(disk / "probe")], capture_output=True).returncode == 0:
            # With files open for writing a remount is refused; a lazy one through the superblock is not.
            run.kill()
            pytest.skip("this system does not let a file system in use become read-only")
        sentence = run.fail()
        told.append(f"exit code 2: “{sentence[:160]}”")
        remount(disk, "rw")
        place.complete()
        shutil.copytree(disk / "home" / "runs", place.home / "runs")
        assert place.result() == undisturbed[1]
        told.append("writable again: as the undisturbed run")


def _truncate(file: Path, chance: random.Random) -> None:
    data = file.read_bytes()
    _replace(file, data[: chance.randrange(len(data))])


def _flip(file: Path, chance: random.Random) -> None:
    data = bytearray(file.read_bytes())
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    _replace(file, bytes(data))


def _remove(file: Path, chance: random.Random) -> None:
    file.unlink()


def _replace(file: Path, data: bytes) -> None:
    # In place, as a disk would: other names of the file show the damage too.
    with file.open("r+b") as stream:
        stream.write(data)
        stream.truncate()


DAMAGES = {"truncated": _truncate, "one bit flipped": _flip, "removed": _remove}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_entry_of_every_kind(finished: Place, report: Report, undisturbed: Expected, damage: str) -> None:
    chance = random.Random(report.seed)
    entries = sorted(path.parent for path in (finished.home / "cache").rglob("artifact.json"))
    kinds = sorted({entry.parent.name for entry in entries})
    hurt = []
    for entry in entries:
        file = chance.choice([path for path in sorted(entry.rglob("*")) if path.is_file() and path.stat().st_size])
        DAMAGES[damage](file, chance)
        hurt.append(f"{entry.parent.name}/{file.name}")
    with report.row(f"cache: a file of every entry {damage}", ", ".join(hurt)) as told:
        output = finished.complete()
        assert finished.result() == undisturbed[1]
        again = output.count("has been damaged; making it again")
        # What was made of a training that is done again has other inputs (its seconds), and is not looked up.
        assert len(kinds) - 1 <= again <= len(entries)
        told.append(f"{again} of {len(entries)} entries ({', '.join(kinds)}) found out and made again; as the undisturbed run")
