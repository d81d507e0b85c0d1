"""`cpcnn train --resume`: where it goes on, what it keeps, what it refuses."""

from __future__ import annotations

import csv
import errno
import os
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cpcnn.jobs import (
    ResumeSettings,
    RunDirectory,
    TrainSettings,
    resume_training,
    train_folder,
)
from cpcnn.jobs.events import TrainingPrepared
from cpcnn.jobs.run_lock import locked
from cpcnn.schedules import get_schedule
from cpcnn.training import EpochEnded, StepEnded, load_checkpoint
from cpcnn.training.checkpoint import save_checkpoint

from .conftest import SIDE, call, document_of, error_of, start, write_classes

RUN = Path("runs/here")
STEPS = 4  # 25 images to train on, in batches of 8
TIMES = ("seconds", "images_per_second", "data_wait")
TIME_LIMIT = 60.0


def settings_for(images: Path, **options: Any) -> TrainSettings:
    small: dict[str, Any] = {"model": "simple", "width": 0.25, "epochs": 2, "batch_size": 8}
    return TrainSettings(images, **(small | {"device": "cpu", "output": RUN} | options))


def train_until(settings: TrainSettings, epoch: int = 0, step: int = 0) -> None:
    """Train, and stop after a step as Ctrl-C does."""
    for event in train_folder(settings):
        if isinstance(event, TrainingPrepared):
            request_stop = event.request_stop
        if isinstance(event, StepEnded) and (event.epoch, event.step) == (epoch, step):
            request_stop()


def outcome(run: Path) -> dict[str, Any]:
    """What a run has come to, without dates and times."""
    last, best = (load_checkpoint(run / f"{name}.cpcnn") for name in ("last", "best"))
    return {
        "last": {k: v.tobytes() for k, v in last.weights.items()},
        "state": {k: v.tobytes() for k, v in last.optimizer_state.items()},
        "best": {k: v.tobytes() for k, v in best.weights.items()},
        "history": [without_times(row) for row in rows_of(run / "history.csv")],
        "epoch": last.training["epoch"],
    }


def without_times(row: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in row.items() if name not in TIMES}


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def data(work: Path, images: Path) -> Path:
    """A copy of the images, to be changed."""
    return Path(shutil.copytree(images, work / "images"))


@pytest.fixture
def interrupted(data: Path) -> Path:
    """A run that was interrupted in its second epoch."""
    train_until(settings_for(data), 2, 2)
    return RUN


@pytest.fixture
def finished(data: Path) -> Path:
    train_until(settings_for(data))
    return RUN


# ---- Going on --------------------------------------------------------------------------------

EVERYTHING: dict[str, Any] = {
    "model": "resnet9",
    "width": 0.07,
    "ema": 0.9,
    "accumulate": 2,
    "clip_norm": 1.0,
    "rotation": 10.0,
    "zoom_range": 0.1,
    "class_weights": "balanced",
    "monitor": "macro-f1",
}


@pytest.mark.parametrize("options", [{}, EVERYTHING], ids=["default", "everything"])
def test_a_stop_at_any_step_changes_nothing(
    images: Path, work: Path, options: dict[str, Any]
) -> None:
    train_until(settings_for(images, output=Path("whole"), **options))
    expected = outcome(Path("whole"))
    for number in range(1, 2 * STEPS):
        run = Path(f"runs/{number}")
        train_until(settings_for(images, output=run, **options), *place(number))
        result = call("train", "--resume", run)
        assert result.exit_code == 0, result.output
        assert outcome(run) == expected, number


def place(number: int) -> tuple[int, int]:
    """The epoch of a step, and its number in it."""
    return 1 + (number - 1) // STEPS, 1 + (number - 1) % STEPS


def test_a_resumed_run_says_where_it_goes_on(interrupted: Path) -> None:
    kept = {name: (interrupted / name).read_bytes() for name in ("settings.toml", "split.csv")}
    result = call("train", "--resume")
    people = result.stderr.splitlines()
    assert people[0].startswith("Device: cpu (")
    assert f"Resume: runs/here after epoch 1 of 2 and step 2 of {STEPS}" in people
    assert [line[:11] for line in people if line.startswith("Epoch ")] == ["Epoch 2/2 l"]
    assert "of 2, validation accuracy" in result.stdout
    for name, content in kept.items():
        assert (interrupted / name).read_bytes() == content
    assert not list(interrupted.parent.glob("simple*"))


def test_the_interruption_tells_how_to_go_on(data: Path, monkeypatch: Any) -> None:
    options = ("--model", "simple", "--width", 0.25, "--epochs", 3, "-b", 8, "--device", "cpu")
    monkeypatch.setattr("cpcnn_cli.training_session.orderly_interrupt", interrupted_at_once)
    result = call("train", data, *options)
    assert result.exit_code == 130
    assert "Interrupted after 0 of 3 epochs" in result.stdout
    assert "Resume:     cpcnn train --resume runs/simple-1\n" in result.stdout
    assert "Best epoch" not in result.stdout
    result = call("train", "--resume", "--json")
    assert result.exit_code == 130
    document = document_of(result)
    assert document["resumed"] == {"epochs_done": 0, "batches_done": 1, "notes": []}
    monkeypatch.undo()
    os.chdir(data.parent)
    document = document_of(call("train", "--resume", "--json"))
    assert document["resumed"]["batches_done"] == 2
    assert [epoch["epoch"] for epoch in document["history"]] == [1, 2, 3]
    assert document["reason"] == "finished"


@contextmanager
def interrupted_at_once(request_stop: Callable[[], None]) -> Iterator[None]:
    """Stand in for orderly_interrupt: Ctrl-C comes before the first step is done."""
    request_stop()
    yield


def test_a_new_run_was_not_resumed(data: Path) -> None:
    options = ("--model", "simple", "--width", 0.25, "--epochs", 1, "--device", "cpu")
    assert document_of(call("train", data, *options, "--json"))["resumed"] is None


def test_a_checkpoint_stands_for_its_run(interrupted: Path) -> None:
    assert call("train", "--resume", interrupted / "last.cpcnn").exit_code == 0
    assert len(rows_of(interrupted / "history.csv")) == 2


def test_images_that_have_moved(interrupted: Path, data: Path) -> None:
    data.rename("elsewhere")
    message = error_of(call("train", "--resume"), 3)
    assert "not in" in message
    assert "cpcnn train DATA --resume runs/here" in message
    result = call("train", "elsewhere", "--resume", interrupted)
    assert result.exit_code == 0, result.output
    settings = tomllib.loads((interrupted / "settings.toml").read_text())
    assert settings["train"]["data"] == str(Path("elsewhere").absolute())


def test_device_workers_and_threads_may_be_others(interrupted: Path, data: Path) -> None:
    result = call("train", "--resume", "--workers", 0, "--threads", 1, "--device", "cpu")
    assert result.exit_code == 0, result.output
    train_until(settings_for(data, output=Path("whole")))
    assert outcome(interrupted) == outcome(Path("whole"))


# ---- More epochs -----------------------------------------------------------------------------


def test_a_finished_run_has_nothing_to_resume(finished: Path) -> None:
    before = {path.name: path.read_bytes() for path in finished.iterdir()}
    message = error_of(call("train", "--resume"), 2)
    assert "nothing to resume in runs/here: all of its 2 epochs are done" in message
    assert "cpcnn train --resume runs/here --epochs 4" in message
    assert {path.name: path.read_bytes() for path in finished.iterdir()} == before


def test_a_finished_run_can_have_more_epochs(finished: Path) -> None:
    created = RunDirectory(finished).created()
    result = call("train", "--resume", "--epochs", 3)
    assert result.exit_code == 0, result.output
    assert "Resume: runs/here after epoch 2 of 3\n" in result.stderr
    rates = [get_schedule("one-cycle", 0.002, 3 * STEPS)(2 * STEPS)]
    rates.append(get_schedule("one-cycle", 0.002, 2 * STEPS)(2 * STEPS - 1))
    assert (
        "  The one-cycle schedule was planned for 2 epochs and is now that of 3: "
        "the learning rate goes on at {:.3g} (it was {:.3g}).\n".format(*rates)
        in result.stderr
    )
    assert [row["epoch"] for row in rows_of(finished / "history.csv")] == ["1", "2", "3"]
    settings = tomllib.loads((finished / "settings.toml").read_text())
    assert settings["train"]["epochs"] == 3
    assert RunDirectory(finished).created() == created
    assert "all of its 3 epochs are done" in error_of(call("train", "--resume"), 2)


def test_more_epochs_at_a_constant_rate_are_a_longer_run(data: Path) -> None:
    constant = {"schedule": "constant", "ema": 0.9}
    train_until(settings_for(data, output=Path("whole"), epochs=3, **constant))
    train_until(settings_for(data, **constant))
    result = call("train", "--resume", RUN, "--epochs", 3)
    assert "schedule" not in result.stderr
    assert outcome(RUN) == outcome(Path("whole"))


def test_an_extension_that_is_interrupted_goes_on_with_its_plan(data: Path) -> None:
    train_until(settings_for(data))
    shutil.copytree(RUN, "runs/other")
    assert call("train", "--resume", RUN, "--epochs", 4).exit_code == 0
    for event in resume_training(ResumeSettings(Path("runs/other"), epochs=4)):
        if isinstance(event, TrainingPrepared):
            request_stop = event.request_stop
        if isinstance(event, StepEnded) and event.epoch == 3:
            request_stop()
    result = call("train", "--resume", "runs/other")
    assert "schedule" not in result.stderr
    assert outcome(Path("runs/other")) == outcome(RUN)


@pytest.mark.parametrize("epochs", [1, 2])
def test_fewer_epochs_than_are_done(finished: Path, epochs: int) -> None:
    message = error_of(call("train", "--resume", "--epochs", epochs), 2)
    assert f"--epochs is {epochs}, and runs/here has done 2 epochs already" in message


def test_a_run_that_was_stopped_early(data: Path) -> None:
    """A rate of almost zero: no epoch is better than the first."""
    train_until(settings_for(data, lr=1e-30, patience=1, epochs=9, schedule="constant"))
    message = error_of(call("train", "--resume"), 2)
    assert "stopped early after epoch 2" in message
    assert "--epochs 9" in message
    assert call("train", "--resume", "--epochs", 9).exit_code == 0
    assert len(rows_of(RUN / "history.csv")) == 3  # patience began anew
    assert "stopped early after epoch 3" in error_of(call("train", "--resume"), 2)


def test_an_interruption_after_an_early_stop_was_overruled(data: Path) -> None:
    train_until(settings_for(data, lr=1e-30, patience=1, epochs=9, schedule="constant"))
    for event in resume_training(ResumeSettings(RUN, epochs=9)):
        if isinstance(event, TrainingPrepared):
            request_stop = event.request_stop
        if isinstance(event, StepEnded):
            request_stop()
    assert call("train", "--resume").exit_code == 0
    assert len(rows_of(RUN / "history.csv")) == 3


# ---- What is kept right ----------------------------------------------------------------------


def test_history_is_that_of_the_checkpoint(interrupted: Path) -> None:
    """Rows that a killed process wrote too many, or had no time for."""
    history = interrupted / "history.csv"
    right = history.read_text()
    for wrong in (right + right.splitlines()[1].replace("1", "7") + "\n", right[:60], ""):
        history.write_text(wrong)
        shutil.copytree(interrupted, "runs/copy")
        assert call("train", "--resume", "runs/copy").exit_code == 0
        text = Path("runs/copy/history.csv").read_text()
        assert text.startswith(right)
        assert len(text.splitlines()) == 3
        shutil.rmtree("runs/copy")


def test_the_best_model_stays_the_best(data: Path) -> None:
    """The first epoch is the best; what comes after the interruption is not."""
    train_until(settings_for(data, lr=1e-30), 2, 2)
    best = (RUN / "best.cpcnn").read_bytes()
    result = call("train", "--resume")
    assert "Best epoch: 1 of 2" in result.stdout
    assert (RUN / "best.cpcnn").read_bytes() == best


def test_a_best_model_that_is_lost(data: Path) -> None:
    train_until(settings_for(data, lr=1e-30), 2, 2)
    (RUN / "best.cpcnn").unlink()
    result = call("train", "--resume")
    assert "best.cpcnn is not that of epoch 1" in result.stderr
    assert load_checkpoint(RUN / "best.cpcnn").training["epoch"] == 2


def test_a_process_that_ended_between_two_checkpoints(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """best.cpcnn is an epoch ahead of last.cpcnn: the epoch is repeated."""
    train_until(settings_for(data, output=Path("whole")))
    train_until(settings_for(data), 1, STEPS)
    assert rows_of(RUN / "history.csv")[0]["best"] == "1"
    ahead = Path("whole/best.cpcnn")
    shutil.copy(ahead, RUN / "best.cpcnn")
    result = call("train", "--resume")
    assert "best.cpcnn" not in result.stderr
    assert outcome(RUN) == outcome(Path("whole"))


def test_what_a_killed_process_left_is_removed(interrupted: Path) -> None:
    (interrupted / ".last.cpcnn.123.tmp").write_bytes(b"half")
    (interrupted / "notes.txt").write_text("mine")
    assert call("train", "--resume").exit_code == 0
    assert not list(interrupted.glob(".*"))
    assert (interrupted / "notes.txt").read_text() == "mine"


# ---- What is refused -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--lr", 0.1), "--lr cannot be given with --resume"),
        (("--no-flip",), "--flip cannot be given with --resume"),
        (("--seed", 0, "--imgsz", 16), "--img-size, --seed cannot be given with --resume"),
        (("-o", "there"), "--output cannot be given"),
    ],
)
def test_other_options(interrupted: Path, options: tuple[object, ...], said: str) -> None:
    message = error_of(call("train", "--resume", interrupted, *options), 2)
    assert said in message
    assert "--epochs, --device, --workers and --threads" in message


def lose(data: Path) -> None:
    (data / "train/bus/000.png").unlink()
    (data / "train/bus/001.png").write_bytes(b"no image any more")


def add(data: Path) -> None:
    for number in range(5):
        shutil.copy(data / "train/car/000.png", data / f"train/van/new{number}.png")


def change(data: Path) -> None:
    shutil.copy(data / "train/car/000.png", data / "train/bus/000.png")


def move(data: Path) -> None:
    (data / "train/car/000.png").rename(data / "train/bus/moved.png")


def add_class(data: Path) -> None:
    shutil.copytree(data / "train/car", data / "train/cart")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lose, "2 missing or not readable (train/bus/000.png, train/bus/001.png)"),
        (add, "begun with: 5 new (train/van/new0.png, train/van/new1.png, train/van/new2.png, …)."),
        (change, "1 changed (train/bus/000.png)"),
        (move, "1 missing or not readable (train/car/000.png); 1 new (train/bus/moved.png)"),
        (add_class, "12 new (train/cart/"),
    ],
)
def test_images_that_have_changed(
    interrupted: Path, data: Path, spoil: Callable[[Path], None], said: str
) -> None:
    last = (interrupted / "last.cpcnn").read_bytes()
    spoil(data)
    message = error_of(call("train", "--resume"), 3)
    assert "not those that runs/here was begun with" in message
    assert said in message
    assert (interrupted / "last.cpcnn").read_bytes() == last


def test_images_that_have_changed_without_hashes_to_tell(interrupted: Path, data: Path) -> None:
    rows = rows_of(interrupted / "split.csv")
    lines = [f"{row['path']},{row['class']},{row['split']}\n" for row in rows]
    (interrupted / "split.csv").write_text("path,class,split\n" + "".join(lines))
    change(data)
    assert "size, mean or deviation" in error_of(call("train", "--resume"), 3)


def test_test_images_may_come_and_go(interrupted: Path, data: Path) -> None:
    shutil.rmtree(data / "test/van")
    (data / "test/bus/000.png").rename(data / "test/bus/100.png")
    assert call("train", "--resume").exit_code == 0


def test_a_run_without_its_split(interrupted: Path) -> None:
    (interrupted / "split.csv").unlink()
    assert "has no split.csv" in error_of(call("train", "--resume"), 3)


def test_settings_that_were_edited(interrupted: Path) -> None:
    settings = interrupted / "settings.toml"
    text = settings.read_text()
    settings.write_text(text.replace("lr = 0.002", "lr = 0.02"))
    message = error_of(call("train", "--resume"), 2)
    assert "settings.toml has lr = 0.02, but the run was begun with 0.002" in message
    settings.write_text("not toml")
    assert call("train", "--resume").exit_code == 0


def test_class_weights_that_were_edited(data: Path) -> None:
    table = Path("weights.csv")
    table.write_text("class,weight\nbus,1\ncar,2\nvan,1\n")
    train_until(settings_for(data, class_weights=str(table)), 1, 2)
    table.write_text("class,weight\nbus,1\ncar,3\nvan,1\n")
    assert "class weights [1.0, 2.0, 1.0]" in error_of(call("train", "--resume"), 2)


def test_a_damaged_checkpoint(interrupted: Path) -> None:
    last, best = interrupted / "last.cpcnn", interrupted / "best.cpcnn"
    last.write_bytes(last.read_bytes()[:-100])
    message = error_of(call("train", "--resume"), 5)
    assert "last.cpcnn is not a cpcnn checkpoint, or it was cut short" in message
    assert "best.cpcnn has the model of epoch 1: `cpcnn eval runs/here` takes it" in message
    assert "cpcnn train --config runs/here/settings.toml" in message
    last.unlink()
    assert "runs/here holds no last.cpcnn" in error_of(call("train", "--resume"), 5)
    best.unlink()
    message = error_of(call("train", "--resume", interrupted), 5)
    assert "holds no last.cpcnn" in message
    assert "best.cpcnn" not in message


def test_a_run_of_before_jpegs_were_reduced(interrupted: Path) -> None:
    path = interrupted / "last.cpcnn"
    checkpoint = load_checkpoint(path)
    assert checkpoint.preprocessing is not None
    assert checkpoint.preprocessing.pop("jpeg") == "reduced"
    save_checkpoint(path, checkpoint)
    assert call("train", "--resume", interrupted).exit_code == 0
    assert "jpeg" not in (load_checkpoint(path).preprocessing or {})


def test_a_run_of_before_there_was_resuming(interrupted: Path) -> None:
    last = load_checkpoint(interrupted / "last.cpcnn")
    del last.training["resume"]
    save_checkpoint(interrupted / "last.cpcnn", last)
    assert "not the state of a training" in error_of(call("train", "--resume"), 5)


@pytest.mark.parametrize("settings", [{}, [1], None])
def test_a_checkpoint_that_no_run_has_written(interrupted: Path, settings: object) -> None:
    """Trainer writes such ones, without settings; any other value is damage."""
    last = load_checkpoint(interrupted / "last.cpcnn")
    last.training["settings"] = settings
    save_checkpoint(interrupted / "last.cpcnn", last)
    assert "does not say with which settings" in error_of(call("train", "--resume"), 5)
    (interrupted / "settings.toml").unlink()
    assert "does not say with which settings" in error_of(call("train", "--resume"), 5)


def test_what_is_no_run(work: Path) -> None:
    assert "There is no trained run" in error_of(call("train", "--resume"), 2)
    write_classes(work / "images", {"a": 2, "b": 2})
    assert "images is no run directory" in error_of(call("train", "--resume", "images"), 2)


@pytest.mark.parametrize("options", [(), ("--dry-run",)])
def test_a_folder_that_another_process_has_just_taken(data: Path, options: tuple[str, ...]) -> None:
    """It is empty until the images are read; what it gets then is not this process' to remove."""
    taken = RunDirectory.claim(Path("taken"))

    @contextmanager
    def lost(folder: Path) -> Iterator[None]:
        taken.write_settings({"epochs": 1})
        with locked(folder):
            yield

    with pytest.MonkeyPatch.context() as patch, locked(taken.path):
        for job in ("train", "dry_run"):
            patch.setattr(f"cpcnn.jobs.{job}.locked", lost)
        result = call("train", data, "--output", taken.path, *options)
    assert "is being trained by another process" in error_of(result, 2)
    assert taken.settings() == {"epochs": 1}


def test_a_run_in_training_is_left_alone(interrupted: Path) -> None:
    with locked(interrupted):
        message = error_of(call("train", "--resume"), 2)
    assert "runs/here is being trained by another process" in message
    assert call("train", "--resume").exit_code == 0


def test_ctrl_c_before_a_resumed_run_begins(
    interrupted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path.name: path.read_bytes() for path in interrupted.iterdir()}

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("cpcnn.data.dataset.ImageDataset.prepare", interrupt)
    assert call("train", "--resume").exit_code == 130
    assert {path.name: path.read_bytes() for path in interrupted.iterdir()} == before


# ---- Ctrl-C twice ----------------------------------------------------------------------------


def test_a_second_ctrl_c_leaves_no_half_document(images: Path, work: Path) -> None:
    slow = ("--model", "resnet9", "--img-size", "128", "--batch-size", "32", "--device", "numpy")
    process = start("train", images, *slow, "--json", cwd=work)
    settings = work / "runs/resnet9-1/settings.toml"
    deadline = time.monotonic() + TIME_LIMIT
    while not settings.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    results, _ = process.communicate(timeout=TIME_LIMIT)
    assert process.returncode == 130
    assert results == ""


# ---- A full disk -----------------------------------------------------------------------------


def test_a_disk_that_is_full(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The checkpoints of the epoch before stay, and the run goes on when there is space again."""
    train_until(settings_for(data, output=Path("whole")))
    real = os.fsync

    def full(handle: int) -> None:
        if (RUN / "history.csv").exists():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(handle)

    monkeypatch.setattr("cpcnn.training.checkpoint.os.fsync", full)
    options = ("--model", "simple", "--width", 0.25, "--epochs", 2, "-b", 8, "--device", "cpu")
    message = error_of(call("train", data, *options, "-o", RUN), 5)
    assert "cpcnn cannot be written: No space left on device" in message
    assert "`cpcnn train --resume runs/here` goes on" in message
    assert not list(RUN.glob(".*"))
    assert load_checkpoint(RUN / "last.cpcnn").training["epoch"] == 1
    assert [row["epoch"] for row in rows_of(RUN / "history.csv")] == ["1"]
    monkeypatch.undo()
    os.chdir(data.parent)
    assert call("train", "--resume").exit_code == 0
    assert outcome(RUN) == outcome(Path("whole"))


SMALL_FILES = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
sys.argv[0] = "cpcnn"
from cpcnn_cli.main import main
main()
"""


def test_files_that_may_not_become_large(images: Path, work: Path) -> None:
    """What a quota does; nothing half written stays, and no run that nobody could use."""
    options = ["--model", "resnet9", "--width", "0.25", "--epochs", "1", "--device", "cpu"]
    command = [sys.executable, "-c", SMALL_FILES, "train", str(images), *options]
    done = subprocess.run(
        command, cwd=work, capture_output=True, text=True, timeout=TIME_LIMIT, check=False
    )
    assert done.returncode == 5, done.stderr
    assert "cannot be written: File too large" in done.stderr
    assert not list(work.rglob("*.cpcnn*"))


@pytest.fixture
def small_disk(work: Path) -> Callable[[int], list[str]]:
    """Return a function that makes the command of a shell with ./disk of so many KiB."""
    probe = ["unshare", "-Urm", "sh", "-c", "mount -t tmpfs -o size=64k tmpfs disk"]
    (work / "disk").mkdir()
    if not shutil.which("unshare") or subprocess.run(probe, check=False).returncode:
        pytest.skip("no file system can be mounted here: a full disk was not tried for real")

    def make(kilobytes: int) -> list[str]:
        mount = f"mount -t tmpfs -o size={kilobytes}k tmpfs disk && exec sh -c"
        return ["unshare", "-Urm", "sh", "-c", f'{mount} "$0"']

    return make


def test_a_real_disk_that_is_full(
    images: Path, work: Path, small_disk: Callable[[int], list[str]]
) -> None:
    """Something else fills the disk after the first epoch, and then gives the space back."""
    cpcnn = f'{sys.executable} -c "from cpcnn_cli.main import main; main()"'
    train = (
        f"{cpcnn} train {images} --model simple --width 0.25 --batch-size 8 --epochs 400 "
        "--device cpu -o disk/run"
    )
    script = f"""
        {train} > out 2> err & pid=$!
        until grep -q '^Epoch *2/' err; do sleep 0.05; done
        cat /dev/zero > disk/ballast 2> /dev/null
        wait $pid; echo "code $?"
        rm disk/ballast
        {cpcnn} eval disk/run {images}/test --device cpu -o report > /dev/null 2>&1
        echo "eval $?"
        {cpcnn} train --resume disk/run > out 2> again & pid=$!
        until grep -q '^Epoch' again; do sleep 0.05; done
        kill -INT $pid; wait $pid; echo "resumed $?"
        ls -A disk/run; cat err again
    """
    done = subprocess.run(
        [*small_disk(1200), script], cwd=work, capture_output=True, text=True, timeout=TIME_LIMIT
    )  # fmt: skip
    said = done.stdout
    assert "code 5\neval 0\nresumed 130\n" in said, said + done.stderr
    assert "cpcnn cannot be written: No space left on device" in said
    assert ".tmp" not in said
    assert "Resume: disk/run after epoch" in said


def test_a_history_of_every_epoch(interrupted: Path) -> None:
    """Events, CSV and checkpoint of a resumed run agree."""
    events = list(resume_training(ResumeSettings(interrupted)))
    (ended,) = (event for event in events if isinstance(event, EpochEnded))
    history = load_checkpoint(interrupted / "last.cpcnn").training["history"]
    assert history[-1] == ended.to_json()
    assert [float(row["train_loss"]) for row in rows_of(interrupted / "history.csv")] == [
        entry["train_loss"] for entry in history
    ]
    assert SIDE == 16
