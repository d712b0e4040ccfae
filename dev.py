#!/usr/bin/env python3
"""The development commands. They need Python 3.10 or newer and nothing else.

    python3 dev.py demo             train on real data, print the comparison, write a picture of the forecast
    python3 dev.py test [...]       run the test suite; what follows goes to pytest, e.g. test -x -k elman
    python3 dev.py lint             ruff and mypy
    python3 dev.py full [...]       what takes longer: ARM under emulation, a million random calls; e.g. full fuzz
    python3 dev.py benchmark [...]  the documented table and the race against other libraries, e.g. benchmark --quick
    python3 dev.py clean            remove the virtual environment and everything that was built

The first run makes a virtual environment in .venv and installs the project into it, editable, with what the command
needs. Later runs start at once, until something changes that the installation depends on. The benchmark has an
environment of its own, .venv-benchmark, so that what it races against changes nothing in the other one.
"""
# Old Pythons must be able to parse this file, or they would show a SyntaxError instead of the sentence below:
# no annotations and no f-strings here.

import sys

if sys.version_info < (3, 10):
    sys.exit("rnn-from-scratch needs Python 3.10 or newer. This is Python %d.%d." % sys.version_info[:2])

import hashlib
import json
import os
import shutil
import subprocess
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / (".venv-benchmark" if sys.argv[1:2] == ["benchmark"] else ".venv")
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
PYTHON = BIN / ("python.exe" if os.name == "nt" else "python")
STAMP = VENV / "installed.json"

# The interpreter behind the environment, also when this script runs inside an environment (perhaps .venv itself).
BASE_PYTHON = os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable)

# Extras of pyproject.toml, each containing the ones before it.
EXTRAS = ["plot", "test", "dev"]

# What the benchmark races against, each with what it needs to take part. The first one is needed, the others are reported
# as missing where they cannot be installed.
PEERS = ["torch==2.13.0", "jax", "keras", "onnxruntime onnx", "openvino onnx", "ai-edge-litert flatbuffers"]

COMMANDS = {
    "benchmark": ("plot", [[BIN / "rnn-from-scratch", "benchmark"]]),
    "full": ("test", [["bash", ROOT / "tools" / "full.sh"]]),
    "demo": ("plot", [[BIN / "rnn-from-scratch", "demo"]]),
    "test": ("test", [[PYTHON, "-m", "pytest", "-n", "auto"]]),
    "lint": ("dev", [[PYTHON, "-m"] + tool.split() for tool in ("ruff check .", "ruff format --check .", "mypy")]),
}

GET_PIP = "https://bootstrap.pypa.io/get-pip.py"

NO_VENV = """Could not make a virtual environment: this Python (%s) has no working `venv` module.
On Debian and Ubuntu install the package python3-venv, then run the same command again."""

NO_PIP = """Could not put pip into the virtual environment: this Python (%s) comes without `ensurepip`, no other pip
works here, and get-pip.py could not be downloaded.
On Debian and Ubuntu install the package python3-venv, elsewhere pip, then run the same command again."""


def main(arguments):
    if not arguments or arguments[0] in ("help", "-h", "--help"):
        print(__doc__)
        return 0
    name, rest = arguments[0], arguments[1:]
    if name == "clean":
        return clean()
    if name not in COMMANDS:
        print(__doc__)
        return "Unknown command: %s" % name
    extra, programs = COMMANDS[name]
    prepare(extra)
    if name == "benchmark":
        add_peers()
    # All programs run, also after a failure, so that one run of `lint` shows everything.
    statuses = [subprocess.call(list(map(str, program)) + rest, cwd=ROOT) for program in programs]
    return next(filter(None, statuses), 0)


# --- Is what is installed still right? ---


def prepare(extra):
    """Leave an environment in which the project is installed with at least this extra."""
    python, project = python_fingerprint(), project_fingerprint()
    stamp = read_stamp()
    if stamp and stamp["python"] == python and environment_works(stamp):
        enough = EXTRAS.index(stamp["extra"]) >= EXTRAS.index(extra)
        if stamp["project"] == project and enough:
            return
        # Without its stamp an environment counts as broken, and so does one whose installation is interrupted now.
        STAMP.unlink()
        if stamp["project"] == project:
            install_extra(extra)
        else:
            extra = stamp["extra"] if enough else extra
            install(extra)
    else:
        make_environment()
        install(extra)
    write_stamp({"python": python, "project": project, "extra": extra, "packages": installed_packages()})


def python_fingerprint():
    """What the environment depends on: the interpreter it was made from, and the folder (scripts contain it)."""
    return fingerprint([BASE_PYTHON, sys.version, str(ROOT)])


def project_fingerprint():
    """What the installation depends on. The Python sources are not in it: an editable install reads them in place."""
    files = [ROOT / "pyproject.toml", ROOT / "CMakeLists.txt", Path(__file__).resolve()]
    files += sorted(path for path in (ROOT / "native").rglob("*") if path.is_file())
    contents = [(path.relative_to(ROOT).as_posix(), hashlib.sha256(path.read_bytes()).hexdigest()) for path in files]
    variables = ["CXX", "CXXFLAGS", "CMAKE_ARGS", "RNN_FROM_SCRATCH_REQUIRE_NATIVE"]
    return fingerprint([contents, find_compiler(), [os.environ.get(name) for name in variables]])


def fingerprint(facts):
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def find_compiler():
    names = [os.environ.get("CXX"), "c++", "g++", "clang++"]
    return next((found for found in map(shutil.which, filter(None, names)) if found), None)


def environment_works(stamp):
    """Whether its Python starts (it may have been removed) and everything that was installed is still there."""
    if not set(stamp["packages"]) <= set(installed_packages()):
        return False
    return succeeds([PYTHON, "-c", "import numpy"])


def installed_packages():
    # Versions are left out, so that upgrading a package by hand does not make the environment a broken one.
    names = [path.name for path in site_packages().glob("*")]
    return sorted(name for name in names if not name.endswith((".dist-info", "__pycache__")))


def site_packages():
    unix = list(VENV.glob("lib/python*/site-packages"))
    return unix[0] if unix else VENV / "Lib" / "site-packages"


def read_stamp():
    try:
        stamp = json.loads(STAMP.read_text(encoding="utf-8"))
        return stamp if stamp["extra"] in EXTRAS and {"python", "project", "packages"} <= set(stamp) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_stamp(stamp):
    temporary = STAMP.with_suffix(".new")
    temporary.write_text(json.dumps(stamp, indent=1), encoding="utf-8")
    os.replace(temporary, STAMP)


# --- Making it ---


def make_environment():
    say("Making a virtual environment in %s" % VENV.name)
    remove(VENV)
    if succeeds([BASE_PYTHON, "-m", "venv", VENV]):
        return
    # Debian's python3 has no ensurepip until python3-venv is installed. Then pip has to come from outside.
    remove(VENV)
    if not succeeds([BASE_PYTHON, "-m", "venv", "--without-pip", VENV]):
        sys.exit(NO_VENV % BASE_PYTHON)
    for command in ways_to_get_pip():
        if succeeds(command) and succeeds([PYTHON, "-m", "pip", "--version"]):
            return
    remove(VENV)
    sys.exit(NO_PIP % BASE_PYTHON)


def ways_to_get_pip():
    """Commands that install pip into an environment without it, the ones that need nothing new first."""
    pips = [[BASE_PYTHON, "-m", "pip"]] + [[path] for path in map(shutil.which, ("pip3", "pip")) if path]
    for pip in pips:
        yield pip + ["--python", PYTHON, "install", "pip"]
    for pip in pips:
        # Older than 22.3: without --python, but a pip is plain files and can be put in place.
        yield pip + ["install", "--target", site_packages(), "pip"]
    for wheel in sorted(Path("/usr/share/python-wheels").glob("pip-*.whl")):
        yield [PYTHON, wheel / "pip", "install", "--no-index", wheel]
    script = VENV / "get-pip.py"
    try:
        with urllib.request.urlopen(GET_PIP, timeout=60) as response:
            script.write_bytes(response.read())
    except OSError:
        return
    yield [PYTHON, script]


def install(extra):
    say("Installing the project into %s; this takes a minute or two" % VENV.name)
    # Editable installation of a project like this one came with pip 21.3, and Python 3.10.0 brought an older one.
    pip_install("pip>=21.3")
    pip_install("--editable", ".[%s]" % extra)
    if any((site_packages() / "rnn_from_scratch").rglob("_native*")):
        say("Installed, with the native engine")
    elif find_compiler():
        say("Installed, with the NumPy engine alone: the C++ engine did not build. To see the compiler's messages, set")
        say("RNN_FROM_SCRATCH_REQUIRE_NATIVE=1 and run the same command again.")
    else:
        say("Installed, with the NumPy engine. It can do everything; with a C++ compiler there is a faster one too.")


def install_extra(extra):
    say("Adding to %s what this command needs" % VENV.name)
    # The project by its name, not its folder: it is there, so that nothing is compiled again.
    pip_install("rnn-from-scratch[%s]" % extra)


def add_peers():
    """Install what the benchmark races against and is not there yet; only the first one has to be possible."""
    for peer in PEERS:
        if all(is_there(requirement) for requirement in peer.split()):
            continue
        say("Adding to %s: %s" % (VENV.name, peer))
        command = [PYTHON, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"] + peer.split()
        if subprocess.call(list(map(str, command)), cwd=ROOT):
            if peer is PEERS[0]:
                sys.exit("The benchmark compares with PyTorch, which could not be installed; what pip said is above.")
            say("Could not be installed here, so the benchmark will say that it is missing: %s" % peer)
        # What came may have replaced something that was there, which must not look like a broken environment.
        write_stamp(dict(read_stamp(), packages=installed_packages()))


def is_there(requirement):
    code = "import importlib.metadata, sys; v = importlib.metadata.version(sys.argv[1]); w = sys.argv[2]; sys.exit("
    code += "bool(w) and v.split('+')[0] != w)"
    name, _, version = requirement.partition("==")
    return succeeds([PYTHON, "-c", code, name, version])


def pip_install(*what):
    pip = [str(PYTHON), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    if subprocess.call(pip + list(what), cwd=ROOT):
        sys.exit("The installation failed; what pip said is above. The next run starts afresh.")


# --- Small things ---


def succeeds(command):
    """Run a command whose failure is an answer, so its output is of no interest."""
    try:
        process = subprocess.run(list(map(str, command)), stdin=subprocess.DEVNULL, capture_output=True, check=False)
    except OSError:
        return False
    return process.returncode == 0


def say(message):
    print("[dev.py] " + message)
    sys.stdout.flush()


def remove(path):
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    elif path.exists() or path.is_symlink():
        path.unlink()


def clean():
    names = [".venv", ".venv-benchmark", "build", "dist", "demo-output", "benchmark-output", "htmlcov", ".coverage"]
    names += [".pytest_cache", ".mypy_cache", ".ruff_cache", ".hypothesis"]
    for name in names:
        remove(ROOT / name)
    for cache in list(ROOT.rglob("__pycache__")):
        remove(cache)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
