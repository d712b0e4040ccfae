"""The command `rnn-from-scratch`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import rnn_from_scratch
from rnn_from_scratch import cli
from rnn_from_scratch.forecasting import co2_demo


def test_info_prints_the_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["info"]) == 0
    rnn_from_scratch.show_config()
    first, second = capsys.readouterr().out.split("rnn-from-scratch ", 2)[1:]
    assert first == second


def test_demo_gets_the_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folders: list[Path] = []
    monkeypatch.setattr(co2_demo, "run", folders.append)
    assert cli.main(["demo", "--output", str(tmp_path)]) == 0
    assert cli.main(["demo"]) == 0
    assert folders == [tmp_path, Path("demo-output")]


@pytest.mark.parametrize("arguments", [[], ["dance"], ["info", "--loud"]])
def test_wrong_words_are_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2
    assert "usage: rnn-from-scratch" in capsys.readouterr().err


def test_module_runs_as_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "rnn_from_scratch", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == rnn_from_scratch.__version__
