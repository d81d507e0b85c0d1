"""The folder of a run: made once, never overwritten, found again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cpcnn.core.errors import CheckpointError, UsageError
from cpcnn.jobs.run_directory import RunDirectory, SplitRow, is_run, last_run


@pytest.fixture(autouse=True)
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def finished(run: RunDirectory) -> RunDirectory:
    run.write_settings({"model": "simple"})
    (run.path / "best.cpcnn").write_bytes(b"")
    return run


def test_numbers_go_up_and_are_never_used_again() -> None:
    data = Path("data")
    assert RunDirectory.create("simple", data).path == Path("runs/simple-1")
    assert RunDirectory.create("simple", data).path == Path("runs/simple-2")
    Path("runs/simple-1").rmdir()
    Path("runs/simple-9").mkdir()
    Path("runs/simple-10x").touch()
    assert RunDirectory.create("simple", data).path == Path("runs/simple-10")
    assert RunDirectory.create("resnet9", data).path == Path("runs/resnet9-1")


@pytest.mark.parametrize("text", ["run = 3\ntrain = [1]\n", "not toml", f"a = {'9' * 5000}\n"])
def test_settings_that_are_no_settings(text: str) -> None:
    run = finished(RunDirectory.create("simple", Path("data")))
    (run.path / "settings.toml").write_text(text)
    assert run.settings() == {}
    assert last_run() == RunDirectory(run.path)


def test_an_empty_folder_may_be_used_and_a_full_one_not() -> None:
    Path("out").mkdir()
    assert RunDirectory.create("simple", Path("data"), output=Path("out")).path == Path("out")
    Path("out/file").touch()
    with pytest.raises(UsageError, match="out exists and is not empty"):
        RunDirectory.create("simple", Path("data"), output=Path("out"))


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_a_place_that_cannot_be_written(place: str) -> None:
    Path("file").touch()
    with pytest.raises(UsageError, match=f"Cannot write {place}"):
        RunDirectory.create("simple", Path("data"), output=Path(place))
    assert Path("file").is_file()


def test_links_do_not_lead_into_the_data_folder() -> None:
    Path("data").mkdir()
    Path("link").symlink_to("data")
    with pytest.raises(UsageError, match="lies in the data folder"):
        RunDirectory.create("simple", Path("data"), output=Path("link/run"))
    assert list(Path("data").iterdir()) == []


def test_a_discarded_run_takes_along_what_was_made_for_it() -> None:
    run = RunDirectory.create("simple", Path("data"), output=Path("a/b/c"))
    run.write_settings({})
    run.write_split([SplitRow("x.png", "x", "train")])
    run.discard()
    assert not Path("a").exists()
    Path("a/b").mkdir(parents=True)
    RunDirectory.create("simple", Path("data"), output=Path("a/b/c")).discard()
    assert Path("a/b").is_dir()


def test_a_run_with_a_checkpoint_is_never_discarded() -> None:
    run = finished(RunDirectory.create("simple", Path("data")))
    run.discard()
    assert is_run(run.path)


def test_the_last_run_is_the_one_made_last() -> None:
    first = finished(RunDirectory.create("simple", Path("data"), name="z"))
    second = finished(RunDirectory.create("simple", Path("data"), name="a"))
    os.utime(first.path)
    (first.path / "report.txt").touch()
    assert last_run().path == second.path
    (second.path / "best.cpcnn").unlink()
    assert last_run().path == first.path


def test_a_run_without_settings_counts_by_its_folder() -> None:
    finished(RunDirectory.create("simple", Path("data"), name="dated"))
    Path("runs/bare").mkdir()
    Path("runs/bare/last.cpcnn").touch()
    os.utime("runs/bare", (1, 1))
    assert last_run().path == Path("runs/dated")
    os.utime("runs/bare", (2**33, 2**33))
    assert last_run().path == Path("runs/bare")


def test_no_run_at_all() -> None:
    with pytest.raises(UsageError, match="no trained run"):
        last_run()
    with pytest.raises(CheckpointError, match="holds no checkpoint"):
        RunDirectory(Path("nothing")).checkpoint()


def test_tables_survive_odd_names() -> None:
    run = RunDirectory.create("simple", Path("data"))
    rows = [SplitRow('a,"b"\n/\udcff.png', "ü", "train"), SplitRow("c.png", "=1", "validation")]
    run.write_split(rows)
    assert run.split() == rows
    run.write_settings({"data": "a\x00\x1b\"'"})
    assert run.settings() == {"data": "a\x00\x1b\"'"}


def test_the_split_keeps_groups_and_content() -> None:
    run = RunDirectory.create("simple", Path("data"))
    rows = [SplitRow("a.png", "a", "train", "", "0a"), SplitRow("b.png", "b", "test", "", "0b")]
    run.write_split(rows)
    assert (run.path / "split.csv").read_text().splitlines()[0] == "path,class,split,sha256"
    assert run.split() == rows
    rows.append(SplitRow("c.png", "a", "validation", "track 7,\n", ""))
    run.write_split(rows)
    assert (run.path / "split.csv").read_text().splitlines()[0] == "path,class,split,group,sha256"
    assert run.split() == rows


def test_splits_of_older_runs_are_read() -> None:
    run = RunDirectory.create("simple", Path("data"))
    (run.path / "split.csv").write_text("path,class,split\na.png,a,train\n")
    assert run.split() == [SplitRow("a.png", "a", "train")]


def test_history_has_one_header() -> None:
    run = RunDirectory.create("simple", Path("data"))
    for epoch in (1, 2):
        run.append_history({"epoch": epoch, "train_loss": 0.5, "validation_loss": None})
    lines = (run.path / "history.csv").read_text().splitlines()
    assert lines == ["epoch,train_loss,validation_loss", "1,0.5,", "2,0.5,"]


def test_damaged_files_are_as_good_as_none() -> None:
    run = RunDirectory.create("simple", Path("data"))
    (run.path / "settings.toml").write_bytes(b"\xff[")
    (run.path / "split.csv").write_text("a,b\n1,2\n")
    assert run.settings() == {}
    assert run.split() == []


def test_a_full_disk_is_an_error_that_names_the_file() -> None:
    run = RunDirectory.create("simple", Path("data"))
    (run.path / "history.csv").mkdir()
    with pytest.raises(UsageError, match=r"Cannot write .*history\.csv"):
        run.append_history({"epoch": 1})
    with pytest.raises(UsageError, match=r"Cannot write .*split\.csv"):
        RunDirectory(Path("gone")).write_split([])
