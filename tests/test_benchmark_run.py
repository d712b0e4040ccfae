"""A whole benchmark in small: real processes, our two engines as contestants; the report, the pictures, the command."""

from __future__ import annotations

import argparse
import importlib.util
import json
import re
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from rnn_from_scratch import cli
from rnn_from_scratch.benchmark import command, ours, registry, run, standalone
from rnn_from_scratch.benchmark.instruction_sets import run_sets, usable
from rnn_from_scratch.benchmark.limits import machine_rates
from rnn_from_scratch.benchmark.overheads import fixed_costs, growths
from rnn_from_scratch.benchmark.pictures import draw
from rnn_from_scratch.benchmark.plan import TIERS, Row, Table, Tier
from rnn_from_scratch.benchmark.problems import inference, recent_past
from rnn_from_scratch.benchmark.processes import Library
from rnn_from_scratch.benchmark.programs import growth
from rnn_from_scratch.benchmark.race import Pace, Reference
from rnn_from_scratch.benchmark.report import documented_table, markdown, summary
from rnn_from_scratch.benchmark.verdicts import (
    CLAIMS,
    Line,
    claims,
    documented_rows,
    insights,
    paired_ratios,
    standings,
    winner,
)

ROOT = Path(__file__).parent.parent

TINY = Tier(
    tables=(Table(3, 2), Table(3, 2, summed=True)),
    rows=(
        Row("A", "train", partial(recent_past, 3, N=4, T=5)),
        Row("C", "predict", partial(inference, "sequence", "gru", 3, T=5)),
        Row("C", "step", partial(inference, "step", "gru", 3, T=5)),
    ),
    pace=Pace(5, 0.0),
    peers=("nobody",),
    program_rounds=1,
    quality_epochs=2,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a run leaves behind."""
    made = tmp_path_factory.mktemp("benchmark")
    command.write(TINY, "tiny", made, [].append)
    return made


@pytest.fixture
def result(folder: Path) -> dict[str, Any]:
    """The JSON of the run."""
    return dict(json.loads((folder / "result.json").read_text(encoding="utf-8")))


def test_the_run_has_all_its_parts(folder: Path, result: dict[str, Any]) -> None:
    assert [race["title"] for race in result["races"]] == ["train", "predict", "step"]
    for race in result["races"]:
        assert race["entries"]["ours, numpy"]["status"] == "timed", race
        assert len(race["entries"]["ours, numpy"]["wall"]) == 5
    programs = result["programs"]
    assert programs["Python + NumPy"]["peak"][0] < programs["ours, numpy"]["peak"][0] < 200e6
    assert programs["ours, numpy"]["seconds"][0] > programs["ours, numpy"]["import"][0] > 0
    assert programs["ours, numpy"]["installed"] > programs["Python + NumPy"]["installed"]
    course = result["quality"]["courses"]["ours, numpy"]
    assert len(course) == 2
    assert course[1][0] > course[0][0]
    assert course[1][1] < course[0][1]
    measured = {
        f"{rate} {dtype}" for rate in ("gemm", "peak", "activations", "wait") for dtype in ("float32", "float64")
    }
    assert set(result["limits"]) == {*measured, "read"}
    assert set(result["took"]) >= {"documented table", "workload A", "workload C", "scaling"}
    assert 0.5 * result["seconds"] < sum(result["took"].values()) <= result["seconds"]
    text = (folder / "report.md").read_text(encoding="utf-8")
    for part in ("## The documented table", "### Workload A", "## The process", "## Time to quality", "Winner".lower()):
        assert part in text


def with_peer(result: dict[str, Any], slowness: float) -> dict[str, Any]:
    """The same with a made-up PyTorch that takes so many times as long as our best."""
    made = json.loads(json.dumps(result))
    for race in made["races"]:
        timed = [e for e in race["entries"].values() if e["status"] == "timed"]
        if timed:
            fastest = min(timed, key=lambda entry: float(np.median(entry["wall"])))
            slower = {clock: [slowness * t for t in fastest[clock]] for clock in ("wall", "cpu")}
            race["entries"]["PyTorch"] = fastest | slower | {"library": "PyTorch"}
    for block in made["tables"]:
        entry = block["entries"]["ours, numpy"]
        turns = [turn | {"wall": slowness * turn["wall"]} for turn in entry["turns"]]
        block["entries"]["PyTorch"] = entry | {"turns": turns}
    made["programs"]["PyTorch"] = made["programs"]["ours, numpy"]
    return dict(made)


def test_verdicts_follow_the_figures(result: dict[str, Any]) -> None:
    ahead, behind = with_peer(result, 4.0), with_peer(result, 0.5)
    assert [s.verdict for s in standings(ahead)] == ["ahead"] * 3
    assert [s.verdict for s in standings(behind)] == ["behind"] * 3
    assert "3 ahead" in insights(ahead)[-1]
    assert "3 behind" in insights(behind)[-1]
    assert "PyTorch is faster (0.5 (0.5–0.5))" in markdown(behind)
    assert "In no race of this run was a peer as fast." in markdown(ahead)
    rows = {line.label: line for line in documented_rows(ahead["tables"][0], ahead["programs"])}
    assert winner(rows["MSE, held out"]) == "same to rounding"
    assert winner(rows["total time, 2 epochs"]) != "PyTorch"
    ratios = paired_ratios(ahead["tables"][0])
    assert ratios["training"]["ours, numpy"].spread.median == pytest.approx(4.0)
    rows = {line.label: line for line in documented_rows(behind["tables"][0], behind["programs"])}
    assert rows["total time, 2 epochs"].values["PyTorch"] == pytest.approx(
        0.5 * (rows["total time, 2 epochs"].values["ours, numpy"] or 0)
    )


def test_claims_hold_or_do_not(result: dict[str, Any]) -> None:
    verdicts = {}
    for slowness in (3.0, 2.0):
        made = with_peer(result, slowness)
        found = claims(documented_rows(made["tables"][0], made["programs"]))
        verdicts[slowness] = {claim.text: measured["ours, numpy"] for claim, measured in found}
    training = CLAIMS[0].text
    assert verdicts[3.0][training] == (pytest.approx(3.0), "holds")
    assert verdicts[2.0][training] == (pytest.approx(2.0), "does not hold")
    figure, verdict = verdicts[3.0]["6.35× lower MSE"]
    assert figure == pytest.approx(1.0)
    assert "withdrawn" in verdict
    assert verdicts[3.0]["85 % less memory (its heading)"] == (pytest.approx(0.0), "does not hold")


@pytest.mark.parametrize(
    ("values", "words", "expected"),
    [
        ({"a": 3.0, "b": 1.0}, {}, "b"),
        ({"a": 3.0, "b": 1.0}, {"higher": True}, "a"),
        ({"a": 1.0, "b": 1.01, "c": 9.0}, {}, "a · b"),
        ({"a": 1.0, "b": 1.1}, {"exact": True}, "a"),
        ({"a": 1.0, "b": float("nan")}, {}, "a"),
        ({"a": 0.0, "b": 0.0}, {}, "level"),
        ({"a": 1.0, "b": None}, {}, "–"),
    ],
)
def test_winners(values: dict[str, float | None], words: dict[str, bool], expected: str) -> None:
    line = Line("Training", "time", "s", values, **words)
    assert winner(line) == expected
    assert documented_table([line]).splitlines()[-1].endswith(f" {expected} |")


def test_nan_runs_are_shown_with_their_epoch(result: dict[str, Any]) -> None:
    entry = result["tables"][0]["entries"]["ours, numpy"]
    entry |= {"NaN epoch": 2, "MSE": float("nan")}
    text = markdown(result)
    assert "ours, numpy: NaN in epoch 2" in text


def test_pictures_show_what_there_is(result: dict[str, Any], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    sweep = {"axis": "T", "sizes": [1, 2], "seconds": {"ours, native": [1.0, None]}, "bytes": {"ours, native": [1, 3]}}
    made = with_peer(result, 0.7) | {"scaling": [sweep]}
    assert [path.name for path in draw(made, tmp_path)] == ["ratios.png", "scaling.png", "quality.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in tmp_path.glob("*.png"))
    assert "**" not in markdown(made | {"tables": []})
    assert draw(result | {"quality": {}}, tmp_path) == []  # nobody to compare with


def test_scaling_and_overheads_are_reported(result: dict[str, Any]) -> None:
    growth = {"twice the steps": [2.0, 2.1, 1.9], "unequal lengths": [1.3, 1.2, 1.4]}
    fixed = {"predict": [1e-6], "fit": [1e-4], "epoch": [2e-6]}
    sweep = {"axis": "T", "sizes": [1, 2, 4], "seconds": {"ours, native": [1.0, 2.0, 4.0]}, "bytes": {"x": [None] * 3}}
    made = result | {"overheads": {"numpy": {"fixed": fixed, "growth": growth}}, "scaling": [sweep]}
    text = markdown(made)
    rows = {line.split("|")[1].strip(): line for line in text.splitlines() if line.startswith("| numpy: ")}
    assert "within" in rows["numpy: twice the steps"]
    assert "beyond" in rows["numpy: unequal lengths"]
    row = next(line for line in text.splitlines() if line.startswith("| ours, native, seconds"))
    assert row.split("|")[-2].strip() == "1.00"


def script(name: str) -> Any:
    specification = importlib.util.spec_from_file_location(name, ROOT / "benchmarks" / f"{name}.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_the_readme_is_filled_between_its_markers(result: dict[str, Any]) -> None:
    readme = script("readme")
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    before, after = text.split(readme.BEGIN)[0], text.split(readme.END)[1]
    filled = readme.inserted(text, result)
    assert filled.startswith(before)
    assert filled.endswith(after)
    assert summary(result) in filled
    assert result["machine"]["date"] in filled
    assert readme.inserted(filled, result) == filled
    with pytest.raises(ValueError, match="markers"):
        readme.inserted("no markers", result)


def test_the_roofline_is_drawn_below_its_roof() -> None:
    """Half of the roof is reached; the roof is three quarters of the peak, since a quarter of the time is for activations."""
    roofline = script("roofline")
    work = {"flops": 75.0, "activations": 25.0, "waiting": 0.0, "weights": 4.0, "passes": 1.0, "bytes": 4.0}
    rates = {"peak float32": 100.0, "activations float32": 100.0, "wait float32": 0.0, "read": [(4, 100.0)]}
    race = {"title": "train GRU, B=32, H=8", "dtype": "float32", "work": work, "entries": {"v9": {"wall": [2.0] * 5}}}
    drawn = roofline.drawing({"rates": {"v9": rates}, "races": [race]}, {"processor": "P", "date": "2026-01-02 03:04"})
    row = next(line for line in drawn.splitlines() if line.startswith("GRU, H=8 "))
    assert row.split()[-2:] == ["50", "%"]
    assert (row.count("█"), row.count("░")) == (round(roofline.WIDTH * 0.375), 45 - round(roofline.WIDTH * 0.375))
    assert "P, v9, one thread, 2026-01-02" in drawn
    document = roofline.DOCUMENT.read_text(encoding="utf-8")
    filled = roofline.inserted(document, drawn)
    assert drawn in filled
    assert filled.partition(roofline.BEGIN)[0] == document.partition(roofline.BEGIN)[0]
    with pytest.raises(ValueError, match="markers"):
        roofline.inserted("no markers", drawn)


def test_shares_of_roofs_are_of_the_median_go() -> None:
    """Half of the roof in float32, four fifths of one that is three times as high in float64."""
    roofline = script("roofline")
    work = {"flops": 60.0, "activations": 0.0, "waiting": 0.0, "weights": 4.0, "passes": 1.0, "bytes": 4.0}
    rates = {f"{what} float32": 30.0 for what in ("peak", "activations", "wait")}
    rates |= {f"{what} float64": 10.0 for what in ("peak", "activations", "wait")} | {"read": [(4, 100.0)]}
    walls = {
        "float32": {"v8": [2.5, 1.0, 9.0], "v9": [4.0, 3.0, 9.0]},
        "float64": {"v8": [8.0, 7.0, 24.0], "v9": [7.5, 8.0, 7.0]},
    }
    races = [
        {
            "title": "train GRU, B=32, H=8",
            "dtype": dtype,
            "work": work,
            "entries": {k: {"wall": v} for k, v in sets.items()},
        }
        for dtype, sets in walls.items()
    ]
    table = roofline.shares({"rates": {"v8": rates, "v9": rates}, "races": races})
    row = [cell.strip() for cell in table.splitlines()[-1].strip("|").split("|")]
    assert row == ["GRU, H=8", "80 %", "50 %", "75 %", "80 %", "1.88", "3.00"]


def test_the_command_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    said: list[str] = []
    options = argparse.Namespace(compare=None, quick=True, full=False, output=tmp_path)
    monkeypatch.setattr(command, "missing", lambda peer: f"not installed: {peer.needs[0][1]}")
    assert command.run(options, said.append) == 1
    assert said[0].endswith('pip install "rnn-from-scratch[benchmark]"')
    monkeypatch.setattr(command, "missing", lambda peer: "" if peer.name == "PyTorch" else "not installed: it")
    ran: list[tuple[object, ...]] = []
    monkeypatch.setattr(command, "write", lambda *words: ran.append(words))
    assert command.run(options, said.append) == 0
    assert ran[0][:3] == (TIERS["quick"], "quick", tmp_path)
    assert "Without JAX (not installed: it)" in said[1]


def test_the_command_compares(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = str(folder / "result.json")
    assert cli.main(["benchmark", "--compare", file, file]) == 0
    assert capsys.readouterr().out.strip() == "No change beyond the noise."


def test_every_peer_has_its_file() -> None:
    for peer in (registry.OURS, *registry.PEERS):
        assert peer.path.is_file(), peer
    unknown = registry.Peer("x", "peers/x", (("no_such_package", "no-such-package"), ("numpy", "numpy")))
    assert registry.missing(unknown) == "not installed: no-such-package"
    assert registry.missing(registry.OURS) == ""


def test_the_extra_and_make_install_what_the_peers_need() -> None:
    """The hint of the command names the extra, and dev.py has a list of its own, since it installs them one by one."""
    needed = {requirement for peer in registry.PEERS for _, requirement in peer.needs}
    extra = (ROOT / "pyproject.toml").read_text(encoding="utf-8").partition("\nbenchmark = [")[2].partition("\n]")[0]
    assert set(re.findall(r'"([^"]+)"', extra)) == needed | {"rnn-from-scratch[plot]"}
    listed = (ROOT / "dev.py").read_text(encoding="utf-8").partition("\nPEERS = [")[2].partition("]\n")[0]
    assert set(" ".join(re.findall(r'"([^"]+)"', listed)).split()) == needed


def test_problems_survive_a_file(tmp_path: Path) -> None:
    problem = recent_past(3, N=4, T=5)
    standalone.save_problem(tmp_path / "p.npz", problem, held_out_X=np.arange(3))
    found = standalone.load_problem(tmp_path / "p.npz")
    assert (found.task, found.clip, found.lengths, found.every) == ("train", 5.0, None, True)
    assert found.sizes == [5, 3, 1]
    assert (found.X == problem.X).all()
    assert {name: a.tolist() for name, a in found.weights.items()} == {
        n: a.tolist() for n, a in problem.weights.items()
    }
    assert found.held_out_X.tolist() == [0, 1, 2]


def test_actions_of_a_program(tmp_path: Path) -> None:
    module = standalone.load_module(registry.OURS.path)
    problem = recent_past(3, N=4, T=5)
    standalone.save_problem(tmp_path / "p.npz", problem, held_out_X=problem.X, held_out_y=problem.y)
    loaded = standalone.load_problem(tmp_path / "p.npz")
    request = {"contestant": "ours, numpy", "epochs": 3, "spawned": 0.0, "level": 1e9}
    done = standalone.run_program(module, loaded, request)
    trained = module.Training(problem, "numpy", "float32")
    trained.train(3)
    assert done["sum"] == pytest.approx(float(trained.predict(problem.X[:1]).sum()))
    assert done["growth"] is None or done["growth"] >= 0
    course = standalone.reach_quality(module, loaded, request)["course"]
    assert len(course) == 1  # good enough at once
    assert len(standalone.reach_quality(module, loaded, request | {"level": -1.0})["course"]) == 3
    peak = standalone.peak_bytes()
    assert peak is None or 1e7 < peak < 1e11


def test_overheads_and_limits_are_numbers() -> None:
    fixed = fixed_costs("numpy", 1)
    assert {name: len(values) for name, values in fixed.items()} == {"predict": 1, "fit": 1, "epoch": 1}
    assert 0 < fixed["predict"][0] < 1
    found = growths("numpy", 1, H=2, N=2)
    assert len(found) == 6
    assert all(0 < value[0] < 1000 for value in found.values())
    rates = machine_rates(0.0)
    assert all(rate > 1e6 for name, rate in rates.items() if name.startswith(("gemm", "peak", "activations")))
    assert all(0 <= rates[f"wait {dtype}"] < 1e-3 for dtype in ("float32", "float64"))
    assert all(rate > 1e6 for _, rate in rates["read"])


def test_memory_of_an_epoch_grows_with_the_data() -> None:
    small, large = (growth(registry.OURS, "ours, numpy", recent_past(8, N=1, T=T)) for T in (10, 20_000))
    if small is None or large is None:
        pytest.skip("this operating system does not tell")
    assert large - small > 20_000 * 8 * 4  # at least the states, in float32
    assert growth(registry.OURS, "nobody", recent_past(8, N=1, T=10)) is None


def test_a_program_prints_what_it_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    request = {"action": "program", "contestant": "ours, numpy", "epochs": 2, "core": None, "spawned": 0.0}
    standalone.save_problem(tmp_path / "p.npz", recent_past(3, N=4, T=5))
    (tmp_path / "r.json").write_text(json.dumps(request | {"problem": str(tmp_path / "p.npz")}))
    standalone.main(str(registry.OURS.path), str(tmp_path / "r.json"))
    found = json.loads(capsys.readouterr().out)
    assert np.isfinite(found["sum"])
    assert found["import"] > 0
    (tmp_path / "r.json").write_text(json.dumps(request | {"action": "nothing", "problem": ""}))
    standalone.main("", str(tmp_path / "r.json"))
    assert set(json.loads(capsys.readouterr().out)) == {"import", "peak"}


@pytest.mark.usefixtures("native")
def test_every_instruction_set_runs_beside_its_limit(result: dict[str, Any]) -> None:
    problem = recent_past(3, N=4, T=5)
    oracle = Library(ours.__name__)
    found = run_sets([("it", problem, Reference.of(oracle, problem))], oracle, Pace(5, 0.0), 0.0)
    oracle.close()
    assert list(found["rates"]) == usable() == list(found["races"][0]["entries"])
    for name, entry in found["races"][0]["entries"].items():
        assert (entry["status"], len(entry["wall"])) == ("timed", 5), name
    text = markdown(result | {"instruction sets": found})
    assert f"{usable()[0]}: limit" in text


def test_a_stage_starts_a_process_once() -> None:
    made: list[tuple[str, int]] = []

    def start(module: str, threads: int) -> SimpleNamespace:
        made.append((module.rpartition(".")[2], threads))
        missing = "its process ended: it did" if len(made) == 1 else "no such device" if threads == 2 else ""
        return SimpleNamespace(missing=missing, versions={"it": "1"}, import_seconds=0.5, close=lambda: None)

    peer = registry.Peer("Peer", "peers/peer", (("numpy", "numpy"),))
    with run.Stage([peer], start) as stage:  # type: ignore[arg-type]
        stage.library(peer, 1)
        for _ in range(2):
            stage.library(peer, 1)  # the first one had ended
        assert len(stage.libraries(2)) == 2
        assert len(stage.libraries(2, names=("another",))) == 1
    assert made == [("peer", 1), ("peer", 1), ("ours", 2), ("peer", 2)]
    assert stage.versions == {"it": "1"}
    assert stage.missing["Peer"] == "no such device"
    assert stage.imports == {"Peer": 0.5}
