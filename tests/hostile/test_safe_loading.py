"""Nothing runs because somebody looked: no command that reads an archive unpickles, compiles, or reaches out."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from results import make_result

import runvault as rv

# What a hostile pickle can be made of. Each would leave a file if anything ever loaded it.
GLOBALS = [
    ("os", "system"),
    ("posix", "system"),
    ("subprocess", "Popen"),
    ("subprocess", "check_output"),
    ("builtins", "eval"),
    ("builtins", "exec"),
    ("builtins", "getattr"),
    ("builtins", "__import__"),
    ("pickle", "loads"),
    ("dill", "loads"),
    ("dill._dill", "_create_namedtuple"),
    ("dill._dill", "_load_type"),
    ("dill._dill", "_create_function"),
    ("marshal", "loads"),
    ("runpy", "run_path"),
    ("importlib", "import_module"),
    ("shutil", "rmtree"),
    ("pathlib", "Path.write_text"),
    ("timeit", "timeit"),
    ("webbrowser", "open"),
    ("ctypes", "CDLL"),
    ("socket", "create_connection"),
    ("pandas", "read_pickle"),
    ("numpy", "load"),
    ("vectorbt", "Portfolio.loads"),
]


def hostile(module: str, name: str, protocol: int) -> bytes:
    """Return a pickle that calls ``module.name("touch pwned")`` when it is loaded, in protocol 0 or 2."""
    if protocol == 0:
        return f"c{module}\n{name}\n(Vtouch pwned\ntR.".encode()
    return b"\x80\x02c" + f"{module}\n{name}\n".encode() + b"X\x0b\x00\x00\x00touch pwned\x85R."


def nested(payload: bytes) -> bytes:
    """Return a pickle that holds another as bytes, as portfolio dumps do."""
    return pickle.dumps({"close": pickle.dumps([payload])})


PICKLES = [
    content
    for module, name in GLOBALS
    for content in (hostile(module, name, 0), hostile(module, name, 2), nested(hostile(module, name, 2)))
]

# Loads every kind of record and table through the Python API and the command line, under an audit hook.
LOOK = """
import sys
seen = []
FORBIDDEN = ("pickle.", "ctypes.dlopen", "socket.", "os.exec", "os.posix_spawn", "os.system", "shutil.", "webbrowser.")

def watch(event, args):
    if event.startswith(FORBIDDEN) or (event == "import" and args[0].split(".")[0] in ("dill", "cloudpickle")):
        seen.append((event, str(args)[:100]))
    if event == "open" and isinstance(args[0], str) and set(args[1] or "") & set("wax+"):  # numbers are pipes
        seen.append((event, str(args)[:100]))
    if event == "subprocess.Popen" and "git" not in str(args[0]):
        seen.append((event, str(args)[:100]))

from runvault.cli.main import run
import runvault.analysis.diff, runvault.api.vault, runvault.archive.curves, runvault.archive.history
import runvault.analysis.compare, runvault.analysis.similar, runvault.integrity.verify, runvault.stores.git.reading
import runvault.archive.exporting, runvault.views.text, runvault.views.html, runvault.stores.catalog, pandas, difflib
import runvault.engines.vectorbt.statistics, runvault.views.frames
import runvault as rv
vault = rv.open(read_only=True)
vault.list()
sys.addaudithook(watch)
statuses = {}
for args in {commands!r}:
    statuses[" ".join(args)] = run(args)
for run in vault.list(limit=5):
    run.equity(), run.trades(), run.orders(), run.stats(), run.manifest, run._repr_html_()
vault.history("latest"), vault.best(), vault.similar("latest"), vault.compare(["latest", "latest-1"]).to_dict()
print(statuses, file=sys.stderr)
print(seen, file=sys.stderr)
sys.exit(1 if seen or any(status not in (0, 1) for status in statuses.values()) else 0)
"""

COMMANDS = [
    ["list"],
    ["list", "--json", "--where", "sharpe_ratio > 0", "--search", "note"],
    ["show", "latest"],
    ["show", "latest", "--json"],
    ["show", "latest", "--config", "--yaml"],
    ["show", "latest", "--file", "portfolio.pkl"],
    ["show", "latest", "--file", "equity.parquet"],
    ["has", "latest"],
    ["diff", "latest", "latest-1", "--trades"],
    ["compare", "latest", "latest-1"],
    ["best"],
    ["similar", "latest"],
    ["log"],
    ["log", "latest"],
    ["verify", "--artifacts"],
    ["config"],
]


def test_there_is_a_hostile_pickle_of_every_kind(tmp_path: Path) -> None:
    assert len(set(PICKLES)) >= 74
    done = subprocess.run(
        [sys.executable, "-c", f"import pickle; pickle.loads({hostile('os', 'system', 2)!r})"], cwd=tmp_path, check=True
    )
    assert done.returncode == 0
    assert (tmp_path / "pwned").exists()  # the corpus does what it says


def test_no_command_and_no_method_ever_loads_a_pickle(repo: Path) -> None:
    vault = rv.init(repo)
    for number, content in enumerate(PICKLES):
        vault.save(
            make_result(0.1 + number / 1000, dump=content), strategy="hostile", params={"n": number}, note="note"
        )

    done = subprocess.run(
        [sys.executable, "-c", LOOK.replace("{commands!r}", repr(COMMANDS))],
        cwd=repo,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    assert not (repo / "pwned").exists()


@pytest.mark.parametrize("command", [["export", "latest", "out"]])
def test_an_export_copies_a_pickle_and_does_not_load_it(repo: Path, command: list[str]) -> None:
    vault = rv.init(repo)
    vault.save(make_result(dump=hostile("os", "system", 2)), strategy="hostile")

    subprocess.run([sys.executable, "-m", "runvault.cli.main", *command], cwd=repo, check=True)
    assert (repo / "out/portfolio.pkl").read_bytes() == hostile("os", "system", 2)
    assert not (repo / "pwned").exists()
