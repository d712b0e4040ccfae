"""What is written is true: doctests and code blocks run, parameter tables are the signatures, shell lines are real."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

import rnn_from_scratch
from rnn_from_scratch import cli

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "benchmarks").glob("*.md")])
MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(rnn_from_scratch.__path__, "rnn_from_scratch.")
    if not module.name.endswith(("_native", "__main__"))
    and ".peers." not in module.name  # each of these imports a library that may be missing
)
# Only with the extra `sklearn`
NEEDS_SKLEARN = ("rnn_from_scratch.estimators", "estimators.md")
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def skip_without_sklearn(name: str) -> None:
    if name.startswith(NEEDS_SKLEARN):
        pytest.importorskip("sklearn", reason="the estimators need the extra `sklearn`")


def blocks(document: Path, *languages: str) -> list[str]:
    return [code for language, code in BLOCK.findall(document.read_text(encoding="utf-8")) if language in languages]


@pytest.mark.parametrize("name", ["rnn_from_scratch", *MODULES])
def test_doctests(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    skip_without_sklearn(name)
    monkeypatch.chdir(tmp_path)
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    result = doctest.testmod(importlib.import_module(name), optionflags=flags)
    assert result.failed == 0


def test_there_are_doctests_for_everything_public() -> None:
    finder = doctest.DocTestFinder()
    # A kind of error, or a description without numbers, needs no example of its own
    exempt = {
        "EngineUnavailableError",
        "FileFormatError",
        "NonFiniteError",
        "NetworkSpecification",
        "NoClipping",
        "GradientCheck",
    }
    for name in sorted(set(rnn_from_scratch.__all__) - exempt - {"__version__"}):
        thing = getattr(rnn_from_scratch, name)
        assert inspect.getdoc(thing), name
        assert any(test.examples for test in finder.find(thing, name)), f"{name} has no example"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda d: d.name)
def test_python_blocks_run(document: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    skip_without_sklearn(document.name)
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, Any] = {"__name__": "document"}
    for code in blocks(document, "python"):
        exec(compile(code, str(document), "exec"), namespace)
    if document.parent in (ROOT, ROOT / "docs") and document.name in ("README.md", "api.md"):
        assert len(blocks(document, "python")) >= 2
    assert all(
        language in ("python", "cpp", "sh", "text", "") for language, _ in BLOCK.findall(document.read_text("utf-8"))
    )


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda d: d.name)
def test_cpp_blocks_are_lines_of_the_kernels(document: Path) -> None:
    lines = {line.strip() for file in (ROOT / "native").iterdir() for line in file.read_text("utf-8").splitlines()}
    for code in blocks(document, "cpp"):
        assert {line.strip() for line in code.splitlines()} <= lines


def accepted_by_the_command(words: list[str]) -> bool:
    try:
        cli._parser().parse_args(words)
    except SystemExit:
        return False
    return True


def is_real(line: str) -> bool:
    """Whether a shell line names things that exist; continuous integration runs the installations themselves."""
    words = shlex.split(line, comments=True)
    match words:
        case [] | ["cd", *_] | ["git", "clone", *_]:
            return True
        case ["make", target]:
            targets = re.findall(r"^([\w ]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
            return target in " ".join(targets).split()
        case ["rnn-from-scratch", *rest]:
            return accepted_by_the_command(rest)
        case ["python3" | "python", "dev.py", command, *_]:
            return f'"{command}"' in (ROOT / "dev.py").read_text()
        case ["python3" | "python", script, *_]:
            return (ROOT / script).is_file()
        case ["pytest", *rest]:
            return all((ROOT / word).exists() for word in rest if not word.startswith("-"))
        case ["pip", "install", *rest]:
            script = ROOT / ".ci" / "run"  # not part of the sdist
            local = [word.replace("git+URL", "git+file://") for word in rest]
            return not script.exists() or all(word in script.read_text() for word in local)
    return False


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda d: d.name)
def test_shell_lines_are_real(document: Path) -> None:
    wrong = [line for code in blocks(document, "sh") for line in code.splitlines() if not is_real(line)]
    assert wrong == []
    assert not is_real("make peace")
    assert not is_real("rnn-from-scratch dance")


def tables() -> dict[str, dict[str, str]]:
    """{name of a class or function: {parameter: default as written}} of docs/api.md."""
    found: dict[str, dict[str, str]] = {}
    name = ""
    for line in (ROOT / "docs" / "api.md").read_text(encoding="utf-8").splitlines():
        if heading := re.match(r"#+ `([\w.]+)`$", line):
            name = heading[1]
        elif (row := re.match(r"\| `(\w+)` \| .* \| (–|`.*`) \| .*\|$", line)) and name:
            found.setdefault(name, {})[row[1]] = row[2].strip("`")
    return found


def test_parameter_tables_are_the_signatures() -> None:
    documented = tables()
    assert len(documented) >= 14
    for name, rows in documented.items():
        thing: Any = rnn_from_scratch
        for part in name.split("."):
            thing = getattr(thing, part)
        signature = {
            parameter.name: "–" if parameter.default is inspect.Parameter.empty else repr(parameter.default)
            for parameter in inspect.signature(thing).parameters.values()
            if parameter.name != "self"
        }
        assert rows == signature, name


def test_public_names_are_documented() -> None:
    text = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    exempt = {
        "__version__",
        "NetworkSpecification",
        "NoClipping",
        "GradientCheck",
        "EngineUnavailableError",
        "NonFiniteError",
    }
    missing = [name for name in rnn_from_scratch.__all__ if name not in text and name not in exempt]
    assert missing == []


def test_links_inside_the_repository_lead_somewhere() -> None:
    for document in DOCUMENTS:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text(encoding="utf-8")):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"
