"""Terminals, pipes and Ctrl-C, each with a process of its own."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from fcntl import ioctl
from pathlib import Path

import pytest

from cpcnn.training.checkpoint import load_checkpoint

from .conftest import QUICK, call, start

ENTRY = [sys.executable, "-c", "from cpcnn_cli.main import main; main()"]
MANY = ("--epochs", "5000", "--batch-size", "4")
TIME_LIMIT = 60.0
COLOUR = re.compile(r"\x1b\[[0-9;]*(3[0-9]|9[0-7]|38|48)[0-9;]*m")
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """A process on a terminal, of 80 columns unless told otherwise."""

    def __init__(
        self,
        *arguments: object,
        cwd: Path,
        columns: int = 80,
        stdout: int | None = None,
        **environment: str,
    ) -> None:
        self.master, slave = pty.openpty()
        ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        inherited = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "COLUMNS")}
        self.process = subprocess.Popen(
            [*ENTRY, *map(str, arguments)],
            cwd=cwd,
            env=inherited | {"TERM": "xterm-256color"} | environment,
            stdin=slave,
            stdout=slave if stdout is None else stdout,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)
        self.output = ""

    def read_until(self, text: str = "") -> str:
        """Read until a text appears, or to the end."""
        deadline = time.monotonic() + TIME_LIMIT
        while not text or text not in self.output:
            assert time.monotonic() < deadline, self.output[-2000:]
            if not select.select([self.master], [], [], 1)[0]:
                continue
            try:
                part = os.read(self.master, 65536)
            except OSError:  # Linux reports the end of a terminal so
                break
            if not part:
                break
            self.output += part.decode()
        assert text in self.output
        return self.output

    def finish(self) -> int:
        """Read to the end and return the exit code."""
        self.read_until()
        code = self.process.wait(TIME_LIMIT)
        os.close(self.master)
        return code

    def lines(self) -> list[str]:
        """Return what was shown, without escape codes and empty lines."""
        shown = re.split("[\r\n]+", ESCAPE.sub("", self.output))
        return [line for line in shown if line.strip()]


def wait_for_epoch(process: subprocess.Popen[str]) -> None:
    """Read a process's stderr until an epoch has ended."""
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("Epoch "):
            return
    raise AssertionError("no epoch ended")


def test_a_terminal_shows_live_progress(images: Path, work: Path) -> None:
    terminal = Terminal("train", images, *QUICK, "--epochs", 2, cwd=work)
    assert terminal.finish() == 0
    assert "\x1b[" in terminal.output
    text = ESCAPE.sub("", terminal.output)
    assert re.search(r"Epoch 1/2 .*% loss \d\.\d+ acc \d\.\d+ \d+ img/s wait \d+%", text)
    lines = [line for line in re.split("[\r\n]+", text) if not line.startswith("Data: ")]
    assert max(map(len, lines)) <= 80
    assert "Evaluate:   cpcnn eval runs/simple-1" in text
    assert terminal.output.rindex("\x1b[?25h") > terminal.output.rindex("\x1b[?25l")


def test_no_colour_on_request(images: Path, work: Path) -> None:
    terminal = Terminal("train", images, *QUICK, cwd=work, NO_COLOR="1")
    assert terminal.finish() == 0
    assert not COLOUR.search(terminal.output)


def test_a_dumb_terminal_gets_plain_lines(images: Path, work: Path) -> None:
    terminal = Terminal("train", images, *QUICK, "--epochs", 2, cwd=work, TERM="dumb")
    assert terminal.finish() == 0
    assert "\x1b" not in terminal.output
    assert len(re.findall(r"(?m)^Epoch \d/2 ", terminal.output)) == 2


COMMANDS: dict[str, tuple[str, ...]] = {
    "train": ("train", "{images}", *QUICK),
    "eval": ("eval",),
    "val": ("val", "--split", "validation"),
    "predict": ("predict", "{images}/test"),
    "check": ("check", "{images}"),
    "summary": ("summary", "--train"),
    "devices": ("devices",),
    "help": ("train", "--help"),
    "mistake": ("eval", "nothing/here"),
}


def arguments_of(name: str, images: Path) -> list[str]:
    return [argument.format(images=images) for argument in COMMANDS[name]]


@pytest.mark.parametrize("name", COMMANDS)
def test_no_command_moves_the_cursor_of_a_dumb_terminal(name: str, images: Path, run: Path) -> None:
    terminal = Terminal(*arguments_of(name, images), cwd=Path.cwd(), TERM="dumb")
    assert terminal.finish() == (5 if name == "mistake" else 0), terminal.output
    assert "\x1b" not in terminal.output
    assert terminal.lines()


@pytest.mark.parametrize("name", ["eval", "predict", "check", "summary", "mistake"])
def test_no_command_colours_where_it_must_not(name: str, images: Path, run: Path) -> None:
    terminal = Terminal(*arguments_of(name, images), cwd=Path.cwd(), NO_COLOR="1")
    assert terminal.finish() == (5 if name == "mistake" else 0), terminal.output
    assert not COLOUR.search(terminal.output)


@pytest.mark.parametrize("name", ["summary", "devices", "predict", "check", "mistake"])
def test_a_narrow_terminal(name: str, images: Path, run: Path) -> None:
    terminal = Terminal(*arguments_of(name, images), cwd=Path.cwd(), columns=40)
    terminal.finish()
    paths = ("Device: ", "Model:  ", "Data:   ")  # which a line breaks only between words
    lines = [line for line in terminal.lines() if not line.startswith(paths)]
    assert max(map(len, lines)) <= 40, "\n".join(lines)


def test_the_moving_line_of_a_narrow_terminal(images: Path, work: Path) -> None:
    terminal = Terminal("train", images, *QUICK, "--epochs", 2, cwd=work, columns=40)
    assert terminal.finish() == 0
    moving = [line for line in terminal.lines() if re.match(r"Epoch \d/2 +\d+% ", line)]
    assert moving
    assert max(map(len, moving)) <= 40
    assert "loss" in moving[-1]


def test_help_of_a_narrow_terminal(work: Path) -> None:
    terminal = Terminal("--help", cwd=work, columns=40)
    assert terminal.finish() == 0
    assert max(map(len, terminal.lines())) <= 40


@pytest.mark.parametrize("command", [("--quiet",), ("--json",)])
def test_nobody_is_shown_a_moving_line_who_asked_for_quiet(
    command: tuple[str], images: Path, work: Path
) -> None:
    terminal = Terminal("train", images, *QUICK, *command, cwd=work)
    assert terminal.finish() == 0
    assert "\x1b" not in terminal.output
    assert "Epoch" not in terminal.output


def test_progress_goes_to_the_terminal_while_a_document_goes_to_a_pipe(
    images: Path, work: Path
) -> None:
    terminal = Terminal("train", images, *QUICK, "--json", cwd=work, stdout=subprocess.PIPE)
    assert terminal.process.stdout is not None
    with terminal.process.stdout as pipe:
        document = json.loads(pipe.read())
    assert terminal.finish() == 0
    assert document["reason"] == "finished"
    assert "Epoch 1/" in terminal.output
    assert "\x1b[" in terminal.output


def test_the_report_on_a_terminal(run: Path, work: Path) -> None:
    terminal = Terminal("eval", cwd=work)
    assert terminal.finish() == 0
    text = ESCAPE.sub("", terminal.output)
    assert re.search(r"weighted avg +\d\.\d\d", text)


def test_a_pipe_gets_one_line_an_epoch_and_no_escape_codes(images: Path, work: Path) -> None:
    process = start("train", images, *QUICK, "--epochs", 3, cwd=work)
    results, people = process.communicate(timeout=TIME_LIMIT)
    assert process.returncode == 0, people
    assert "\x1b" not in results + people
    assert "\r" not in results + people
    assert [line.split()[1] for line in people.splitlines() if "Epoch" in line] == [
        "1/3",
        "2/3",
        "3/3",
    ]


def test_ctrl_c_ends_training_in_good_order(images: Path, work: Path) -> None:
    process = start("train", images, *QUICK, *MANY, cwd=work)
    wait_for_epoch(process)
    process.send_signal(signal.SIGINT)
    results, people = process.communicate(timeout=TIME_LIMIT)
    assert process.returncode == 130
    assert "Traceback" not in people
    assert "Stopping after this step" in people
    assert re.search(r"Interrupted after \d+ of 5000 epochs", results)
    assert "runs/simple-1" in results
    checkpoint = load_checkpoint(work / "runs/simple-1/last.cpcnn")
    assert checkpoint.classes == ("bus", "car", "van")
    assert call("eval", work / "runs/simple-1").exit_code == 0


def test_ctrl_c_on_a_terminal_gives_the_cursor_back(images: Path, work: Path) -> None:
    terminal = Terminal("train", images, *QUICK, *MANY, cwd=work)
    terminal.read_until(" 2/5000 loss")
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.finish() == 130
    assert terminal.output.rindex("\x1b[?25h") > terminal.output.rindex("\x1b[?25l")
    assert (work / "runs/simple-1/last.cpcnn").is_file()


def test_a_second_ctrl_c_ends_at_once(images: Path, work: Path) -> None:
    slow = ("--model", "resnet9", "--img-size", "128", "--batch-size", "32", "--device", "numpy")
    process = start("train", images, *slow, cwd=work)
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("Train: "):
            break
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=TIME_LIMIT)
    assert process.returncode == 130


def test_ctrl_c_while_images_are_read_leaves_nothing(
    images: Path, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("cpcnn.data.dataset.ImageDataset.prepare", interrupt)
    result = call("train", images, *QUICK)
    assert result.exit_code == 130
    assert result.stderr.endswith("Interrupted.\n")
    assert "Traceback" not in result.output
    assert list(work.iterdir()) == []


def test_an_interrupted_json_run_is_still_one_document(images: Path, work: Path) -> None:
    process = start("train", images, *QUICK, *MANY, "--json", cwd=work)
    deadline = time.monotonic() + TIME_LIMIT
    while not (work / "runs/simple-1/best.cpcnn").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    results, _ = process.communicate(timeout=TIME_LIMIT)
    assert process.returncode == 130
    assert '"reason": "interrupted"' in results


def test_a_check_shows_progress_and_colours(images: Path, work: Path) -> None:
    terminal = Terminal("check", images, cwd=work)
    assert terminal.finish() == 0
    assert COLOUR.search(terminal.output)
    assert "Reading files" in terminal.output
    assert terminal.lines()[-1].startswith("Sound to train on: ")


def test_ctrl_c_ends_a_check_and_leaves_nothing(
    images: Path, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("cpcnn.jobs.checking.check.inspect_files", interrupt)
    result = call("check", images, "--html", "page.html", "--fix-list", "fixes.csv")
    assert result.exit_code == 130
    assert result.stderr.endswith("Interrupted.\n")
    assert "Traceback" not in result.output
    assert list(work.iterdir()) == []
