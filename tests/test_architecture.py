"""The floors of the house: a room imports only from rooms below it, at the top of the file, and never sideways."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import rnn_from_scratch
from rnn_from_scratch.deferred import deferred_module
from rnn_from_scratch.engines.select import engine_status

PACKAGE = Path(rnn_from_scratch.__file__).parent
NATIVE = Path(__file__).parents[1] / "native"
NAME = "rnn_from_scratch"

# From the ground up. Rooms on one floor of this list may not import each other, except where one room is a folder.
FLOORS: list[set[str]] = [
    {"_version", "alphabet", "datasets", "deferred", "frozen"},
    {"validation"},
    {"file_format"},
    {
        "layers",
        "live_tensors",
        "sequences",
        "clipping",
        "optimizers",
        "metrics",
        "atomic_file",
        "npy_format",
        "stored_zip",
        "generator_state",
    },
    {"specification", "windows", "archive"},
    {"parameters", "states", "weights"},
    {"initializers", "model_files"},
    {"textbook"},
    {"engines"},
    {"training"},
    {"configuration", "summary", "by_hand", "generation", "stream", "training_set"},
    {"network_base"},
    {"network_training"},
    {"network"},
    {"gradient_check", "scratch_functions", "prediction"},
    {"explain"},
    {"scratch", "forecasting", "estimators"},
    {"persistence", "benchmark"},
    {"cli"},
    {"__init__", "__main__"},
]

# Optional packages, each only inside its leaf, and there inside a function so that the leaf itself can be imported; the files
# of estimators are imported by the folder's lazy `__getattr__`.
OPTIONAL = {
    "explain": {"matplotlib"},
    "training": {"pandas", "tqdm"},
    "estimators": {"sklearn"},
    "benchmark": {
        "matplotlib",
        "torch",
        "jax",
        "keras",
        "onnx",
        "onnxruntime",
        "openvino",
        "ai_edge_litert",
        "flatbuffers",
    },
}
RUNTIME = {"numpy"}

# Inside folders: files in the order in which they may import each other.
INSIDE: dict[str, list[set[str]]] = {
    "textbook": [
        {"activations", "products", "dropout", "embedding", "penalty"},
        {"elman", "elman_and_readout", "gru", "lstm", "readout"},
        {"losses"},
    ],
    "engines": [{"base", "processors"}, {"rows", "turned"}, {"joined"}, {"numpy_engine", "native_engine"}, {"select"}],
    "prediction": [{"forms"}, {"labels", "steps"}, {"predictor"}, {"files"}],
    "estimators": [
        {"solvers", "convergence", "preprocessing"},
        {"settings"},
        {"parts"},
        {"base"},
        {"regressor", "classifier"},
        {"pipelines"},
    ],
    "training": [
        {"history", "constant_rate", "checkpoint"},
        {"schedules", "stopping", "epochs", "evaluation", "progress"},
        {"loop"},
        {"resuming"},
    ],
    "benchmark": [
        {"statistics", "tables", "machine", "problems", "standalone", "registry"},
        {"processes", "ours", "peers", "compare"},
        {"limits", "race", "programs", "overheads"},
        {"documented", "scaling", "plan", "instruction_sets"},
        {"verdicts", "run"},
        {"report", "pictures"},
        {"command"},
    ],
}


def room(path: Path) -> tuple[str, str]:
    """The room a file belongs to, and its name inside the room; there a folder counts as one file."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return parts[0], parts[min(1, len(parts) - 1)]


def floor_of(name: str) -> int:
    return next(level for level, rooms in enumerate(FLOORS) if name in rooms)


def imports(tree: ast.AST) -> Iterator[tuple[str, int, bool]]:
    """(module, line, whether it hides inside a function) for every import."""
    for node in ast.walk(tree):
        for child in ast.iter_child_nodes(node):
            child.parent = node  # type: ignore[attr-defined]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"relative import in line {node.lineno}"
            names = [node.module or ""]
            folder = PACKAGE.joinpath(*names[0].split(".")[1:])
            if names[0].split(".")[0] == NAME and folder.is_dir():  # the names are rooms, or files in a room
                names = [f"{names[0]}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "deferred_module":
            names = [ast.literal_eval(node.args[0])]  # deferred.py: an import at a later time is an import
        else:
            continue
        above = node
        hidden = False
        while above := getattr(above, "parent", None):  # type: ignore[assignment]
            hidden = hidden or isinstance(above, (ast.FunctionDef, ast.AsyncFunctionDef))
        for name in names:
            yield name, node.lineno, hidden


def files() -> list[Path]:
    found = sorted(PACKAGE.rglob("*.py"))
    assert len(found) > 20
    return found


def violations(path: Path) -> Iterator[str]:
    here, file = room(path)
    optional = OPTIONAL.get(here, set())
    for module, line, hidden in imports(ast.parse(path.read_text(encoding="utf-8"))):
        place = f"{path.relative_to(PACKAGE)}:{line} imports {module}"
        top = module.split(".")[0]
        if top != NAME:
            if top in optional:
                continue
            if not (top in RUNTIME or top in sys.stdlib_module_names):
                yield f"{place}: not a dependency of this room"
        elif here not in ("__init__", "__main__"):
            there = module.split(".")[1]
            if there != here and floor_of(there) >= floor_of(here):
                yield f"{place}: not below {here}"
            if there == here and here in INSIDE:
                order = INSIDE[here]
                inside = module.split(".")[2] if module.count(".") > 1 else "__init__"
                levels = {name: level for level, names in enumerate(order) for name in names}
                if file not in ("__init__", inside) and levels.get(inside, 99) >= levels[file]:
                    yield f"{place}: not below {file}"
        if hidden and top not in optional:
            yield f"{place}: inside a function"


def test_every_import_goes_down() -> None:
    found = [violation for path in files() for violation in violations(path)]
    assert found == []


def test_every_room_has_a_floor() -> None:
    rooms = {room(path)[0] for path in files()}
    assert rooms <= set().union(*FLOORS)
    for folder, order in INSIDE.items():
        inside = {room(path)[1] for path in (PACKAGE / folder).rglob("*.py")} - {"__init__"}
        assert inside == set().union(*order), folder


def test_the_check_can_fail() -> None:
    upwards = "from rnn_from_scratch.network import Network\ndef f():\n    import json\nx = deferred_module('csv')\n"
    found = sorted(imports(ast.parse(upwards)))
    assert found == [("csv", 4, False), ("json", 3, True), ("rnn_from_scratch.network", 1, False)]
    assert floor_of("network") > floor_of("textbook")


def test_native_files_are_short_and_narrow() -> None:
    sources = [*NATIVE.glob("*.hpp"), *NATIVE.glob("*.cpp")]
    assert len(sources) > 10
    for path in sources:
        lines = path.read_text(encoding="utf-8").splitlines()
        assert len(lines) <= 450, path
        assert [line for line in lines if len(line) > 128] == [], path


# `import rnn_from_scratch` needs little, and training and predicting with the native engine not all of the rest: files,
# checkpoints, metrics, streams, the textbook and so on are imported when they are first used.
NOT_FOR_IMPORT = {
    "dataclasses",
    "hashlib",
    "inspect",
    "json",
    "numpy.random",
    "numpy.typing",
    "pathlib",
    "pkgutil",
    "zipfile",
}
NOT_FOR_TRAINING = {
    "argparse",
    "csv",
    "json",
    "multiprocessing",
    "pathlib",
    "pkgutil",
    "tempfile",
    "unittest",
}
NOT_FOR_TRAINING |= {"concurrent", "urllib", "zipfile", "numpy.ma", "numpy.lib.format", "numpy.testing", "numpy.typing"}
ROOMS_FOR_TRAINING = {
    "_version",
    "alphabet",
    "clipping",
    "deferred",
    "engines",
    "file_format",
    "frozen",
    "initializers",
    "layers",
}
ROOMS_FOR_TRAINING |= {
    "live_tensors",
    "network",
    "network_base",
    "network_training",
    "optimizers",
    "parameters",
    "scratch",
}
ROOMS_FOR_TRAINING |= {
    "scratch_functions",
    "sequences",
    "specification",
    "training",
    "training_set",
    "validation",
    "windows",
}
TRAINING = """
import numpy as np
from rnn_from_scratch import Elman, Network, RNNScratch
X, y = np.ones((3, 4, 2)), np.ones((3, 1))
RNNScratch(2, 3, 1, 0.1, random_state=0).train(X, y, 2, verbose=False)
network = Network(2, [Elman(3)], 1, readout="last", random_state=0)
network.fit(X, y, 2)
network.predict(X)
"""


def loaded_by(script: str) -> set[str]:
    """The modules that a fresh process has after the script, beyond those that it has after ``import numpy``."""
    lines = ("import numpy, sys", "before = set(sys.modules)", script, "print(*(set(sys.modules) - before))")
    # Who requires the native engine wants to hear at once, when the package is imported, that it is not there.
    environment = {name: value for name, value in os.environ.items() if name != "RNN_FROM_SCRATCH_REQUIRE_NATIVE"}
    command = [sys.executable, "-c", "\n".join(lines)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return set(done.stdout.split())


def test_importing_the_package_imports_next_to_nothing() -> None:
    found = loaded_by("import rnn_from_scratch")
    assert {name for name in found if name.startswith(NAME)} == {NAME, f"{NAME}._version", f"{NAME}.deferred"}
    assert found & NOT_FOR_IMPORT == set()


@pytest.mark.skipif(engine_status()["auto"] != "native", reason="the NumPy engine needs the textbook")
def test_training_imports_what_it_needs() -> None:
    found = loaded_by(TRAINING)
    assert found & NOT_FOR_TRAINING == set()
    own = {tuple(name.split(".")) for name in found if name.startswith(f"{NAME}.")}
    assert {name[1] for name in own} <= ROOMS_FOR_TRAINING
    assert {name[2] for name in own if name[1] == "training" and len(name) > 2} <= {
        "constant_rate",
        "epochs",
        "evaluation",
        "history",
        "loop",
        "progress",
    }


def test_what_the_package_offers() -> None:
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    seen_by_checkers = [
        (node.module, alias.name)
        for block in tree.body
        if isinstance(block, ast.If) and getattr(block.test, "id", "") == "TYPE_CHECKING"
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    ]
    offered = [(f"{NAME}.{module}", name) for module, names in rnn_from_scratch._OFFERED.items() for name in names]
    assert sorted(offered) == sorted(seen_by_checkers)
    assert sorted(["__version__", *(name for _, name in offered)]) == sorted(rnn_from_scratch.__all__)
    assert len(set(rnn_from_scratch.__all__)) == len(rnn_from_scratch.__all__)
    namespace: dict[str, object] = {}
    exec("from rnn_from_scratch import *", namespace)  # every name is there
    assert set(rnn_from_scratch.__all__) <= namespace.keys()


def test_modules_are_attributes_of_their_packages() -> None:
    asked = "r.textbook.gru.__name__, r.training.loop.__name__, r.network.__name__"
    script = f"import rnn_from_scratch as r; print({asked}, sep=',')"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"{NAME}.textbook.gru,{NAME}.training.loop,{NAME}.network"
    assert {"Network", "textbook", "show_config", "__version__"} <= set(dir(rnn_from_scratch))
    assert {"gru", "losses"} <= set(dir(rnn_from_scratch.textbook))
    for name in ("Netwerk", "_nothing", "__wrapped__"):
        assert not hasattr(rnn_from_scratch, name)
    with pytest.raises(AttributeError, match="module 'rnn_from_scratch' has no attribute 'Netwerk'"):
        _ = rnn_from_scratch.Netwerk  # type: ignore[attr-defined]


def test_a_deferred_module_says_what_is_missing() -> None:
    missing = deferred_module("rnn_from_scratch.nowhere")
    assert not hasattr(missing, "__wrapped__")  # which asks of nobody to import it
    with pytest.raises(ModuleNotFoundError, match="nowhere"):
        _ = missing.anything


def test_files_and_functions_are_short() -> None:
    for path in files():
        source = path.read_text(encoding="utf-8")
        assert len(source.splitlines()) <= 450, path
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef):
                docstring = ast.get_docstring(node, clean=False) or ""
                code = (node.end_lineno or 0) - node.lineno - len(docstring.splitlines())
                assert code <= 60, f"{path}:{node.lineno} {node.name} has {code} lines"
