"""Nothing runs because somebody looked: no command that reads an archive unpickles, compiles, or reaches out."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hostile_trees import Entry, commit_tree, put, write_object
from machine import git
from results import make_result

import runvault as rv
from runvault.model.records import dump_json
from runvault.stores.dvc import pointer_bytes

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

WATCHING = Path(__file__).with_name("watching.py")

# Whoever only looks needs none of these: what unpickles, compiles, or runs others (pyarrow imports cloudpickle)
NEVER = {"dill", "joblib", "vectorbt", "numba", "llvmlite", "distributed", "sitecustomize", "strategy"}

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


@pytest.fixture
def harmless(tmp_path: Path) -> Path:
    """Return a repository with an archive of three runs, for the first look."""
    path = tmp_path / "harmless"
    path.mkdir()
    git(path, "init", "--quiet")
    vault = rv.init(path)
    for number in range(3):
        vault.save(make_result(0.1 + number / 10), strategy="hostile", params={"n": number}, note="note")
    return path


def looked_at(repo: Path, harmless: Path, runs: list[str], commands: list[list[str]] | None = None) -> dict[str, Any]:
    """Look at an archive in a process of its own, and return what was seen there that should not be."""
    done = subprocess.run(
        [sys.executable, "-B", str(WATCHING), str(harmless), str(repo)],
        input=json.dumps({"commands": COMMANDS if commands is None else commands, "runs": runs}).encode(),
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    return dict(json.loads(done.stdout))


def test_there_is_a_hostile_pickle_of_every_kind(tmp_path: Path) -> None:
    assert len(set(PICKLES)) >= 74
    done = subprocess.run(
        [sys.executable, "-c", f"import pickle; pickle.loads({hostile('os', 'system', 2)!r})"], cwd=tmp_path, check=True
    )
    assert done.returncode == 0
    assert (tmp_path / "pwned").exists()  # the corpus does what it says


def test_no_command_and_no_method_ever_loads_a_pickle(repo: Path, harmless: Path) -> None:
    vault = rv.init(repo)
    for number, content in enumerate(PICKLES):
        vault.save(
            make_result(0.1 + number / 1000, dump=content), strategy="hostile", params={"n": number}, note="note"
        )

    told = looked_at(repo, harmless, [run.id for run in vault.list(limit=5)])
    assert not told["seen"], "\n".join(told["seen"])
    assert {status for status in told["statuses"].values() if status not in (0, 1)} == set(), told["statuses"]
    assert NEVER & set(told["packages"]) == set()
    assert not (repo / "pwned").exists()


def pointer(path: str, md5: str = "0" * 32) -> bytes:
    return f"outs:\n- md5: {md5}\n  size: 1\n  hash: md5\n  path: {path}\n".encode()


def parquet(metadata: dict[bytes, bytes], column: str = "time") -> bytes:
    """Return a Parquet file that says of itself what pyarrow or pandas might believe."""
    sink = io.BytesIO()
    fields = [pa.field(column, pa.int64(), metadata={b"ARROW:extension:name": b"arrow.py_extension_type", **metadata})]
    table = pa.table([pa.array([1])], pa.schema(fields, metadata={b"pandas": b"{", **metadata}))
    pq.write_table(table, sink, compression="zstd", write_page_checksum=True)
    return sink.getvalue()


EVIL = hostile("os", "system", 2)
EXTENSION = {b"ARROW:extension:metadata": EVIL}
DEEP = b"[" * 50_000 + b"]" * 50_000

# What stands in the folder of a run instead of what was saved: mode and content by name
FILES: dict[str, dict[str, tuple[str, bytes]]] = {
    "no JSON": {"manifest.json": ("100644", b"{")},
    "a pickle as the manifest": {"manifest.json": ("100644", EVIL)},
    "a deep manifest": {"manifest.json": ("100644", DEEP)},
    "lone surrogate": {"manifest.json": ("100644", b'{"format": 1, "id": "\\ud800"}')},
    "NaN": {"manifest.json": ("100644", b'{"format": NaN}')},
    "newer": {"manifest.json": ("100644", b'{"format": 2}')},
    "a link as the manifest": {"manifest.json": ("120000", b"/etc/passwd")},
    "deep annotations": {"annotations.json": ("100644", DEEP)},
    "annotations of another type": {"annotations.json": ("100644", b'{"tags": {"a": "__import__(\'os\')"}}')},
    "a pickle as the statistics": {"stats.parquet": ("100644", EVIL)},
    "statistics of an extension type": {"stats.parquet": ("100644", parquet(EXTENSION, "metric"))},
    "a link as the statistics": {"stats.parquet": ("120000", b"../../../.git/config")},
    "a program": {"stats.parquet": ("100755", b"#!/bin/sh\ntouch pwned\n")},
    "a pointer above": {"equity.parquet.dvc": ("100644", pointer("../../../strategy.py"))},
    "a pointer with a wdir": {"equity.parquet.dvc": ("100644", b"wdir: ../..\n" + pointer("equity.parquet"))},
    "a pointer with a command": {"equity.parquet.dvc": ("100644", b"cmd: touch pwned\n" + pointer("equity.parquet"))},
    "a pointer with a tag": {"orders.parquet.dvc": ("100644", b"!!python/object/apply:os.system ['touch pwned']\n")},
    "a pointer to a pickle": {
        "trades.parquet.dvc": (
            "100644",
            pointer("trades.parquet", hashlib.new("md5", EVIL, usedforsecurity=False).hexdigest()),
        )
    },
    "odd names": {"--output=pwned": ("100644", b"x"), "a\nb": ("100644", b"x"), "sitecustomize.py": ("100644", b"1/0")},
}
# What an artifact is: recorded as such by whoever saved it, so that the bytes get as far as they can
ARTIFACTS = {
    "a pickle as the equity curve": ("equity.parquet", EVIL),
    "an extension type in the curve": ("equity.parquet", parquet(EXTENSION)),
    "an extension type in the trades": ("trades.parquet", parquet(EXTENSION, "id")),
    "pandas' own words in the orders": (
        "orders.parquet",
        parquet({b"pandas": b'{"index_columns": ["__import__"]}'}, "id"),
    ),
    "a footer of nothing": ("equity.parquet", b"PAR1" + b"\x19" * 4096 + b"\0\x10\0\0PAR1"),
    "a nested pickle": ("portfolio.pkl", nested(EVIL)),
}


def save_and_replace(vault: rv.Vault, kind: str, number: int) -> tuple[str, dict[str, tuple[str, bytes]]]:
    """Save a run, and return what of its folder is to be replaced."""
    run = vault.save(make_result(0.1 + number / 100), strategy="hostile", params={"n": number}, note="note").run
    if kind in FILES:
        return run.id, FILES[kind]
    name, content = ARTIFACTS[kind]
    stored = vault.stores.objects.put(content)
    entry = {**run.manifest["artifacts"][name], "md5": stored.md5, "sha256": stored.sha256, "size": stored.size}
    manifest = {**run.manifest, "artifacts": {**run.manifest["artifacts"], name: entry}}
    files = {"manifest.json": dump_json(manifest), f"{name}.dvc": pointer_bytes(name, stored)}
    return run.id, {name: ("100644", content) for name, content in files.items()}


def test_nothing_runs_and_nothing_is_written_while_hostile_and_damaged_records_are_shown(
    repo: Path, harmless: Path
) -> None:
    vault = rv.init(repo)
    kinds = [*FILES, *ARTIFACTS]
    replaced = [save_and_replace(vault, kind, number) for number, kind in enumerate(kinds)]
    cut = vault.save(make_result(0.7), strategy="hostile", params={"n": "cut"}).run
    sound = [vault.save(make_result(0.8 + n / 10), strategy="hostile", params={"n": str(n)}).run.id for n in range(2)]
    before = git(repo, "rev-parse", "runvault").strip()
    root = git(repo, "rev-parse", "runvault^{tree}").strip()
    for run, files in replaced:
        entries: list[Entry] = [
            (mode, name.encode(), write_object(repo, "blob", content)) for name, (mode, content) in files.items()
        ]
        root = put(repo, root, [b"runs", run[:2].encode(), run.encode()], entries)
    git(repo, "update-ref", "refs/heads/runvault", commit_tree(repo, root, before))
    for folder in (".dvc/cache/files/md5", ".git/runvault/keep/files/md5"):
        path = repo / folder / cut.artifacts["equity.parquet"]["md5"][:2] / cut.artifacts["equity.parquet"]["md5"][2:]
        path.chmod(0o644)
        path.write_bytes(path.read_bytes()[:-9])

    runs = [*(run for run, _ in replaced), cut.id, *sound]
    each = [command for run in runs for command in (["show", run], ["diff", run, "latest", "--trades"], ["log", run])]
    review = [["review", f"{before}..runvault"], ["review", "--json", f"{before}..runvault"]]
    state = git(repo, "for-each-ref"), git(repo, "status", "--porcelain", "--ignored")
    told = looked_at(repo, harmless, runs, [*COMMANDS, *each, *review])
    assert not told["seen"], "\n".join(told["seen"])
    assert NEVER & set(told["packages"]) == set()
    failed = {command: status for command, status in told["statuses"].items() if status in (2, 3)}
    assert not failed
    assert told["statuses"]["verify --artifacts"] == 1
    assert (git(repo, "for-each-ref"), git(repo, "status", "--porcelain", "--ignored")) == state
    assert not list(repo.parent.rglob("pwned"))


WRONG = {
    "pickle": f"import pickle; pickle.loads({EVIL!r})",
    "eval": "eval('1')",
    "exec": "exec(compile('x = 1', 'evil.py', 'exec'))",
    "function": "import types; types.FunctionType((lambda: 1).__code__, {})",
    "ctypes": "import ctypes; ctypes.CDLL(None)",
    "socket": "import socket; socket.socket().bind(('127.0.0.1', 0))",
    "program": "import subprocess; subprocess.run(['true'])",
    "a program called git": "import subprocess; subprocess.run(['git'], executable='/bin/true')",
    "import": "import dill",
    "shell": "import os; os.system('true')",
    "file": "open('x', 'w')",
    "file by number": "import os; os.open('x', os.O_CREAT | os.O_WRONLY)",
    "database": "import sqlite3; sqlite3.connect('x.db')",
    "rename": "import os; os.rename('sub', 'x')",
    "removal": "import shutil; shutil.rmtree('sub')",
}


@pytest.mark.parametrize("kind", WRONG)
def test_the_hook_would_have_seen_it(tmp_path: Path, kind: str) -> None:
    (tmp_path / "sub").mkdir()
    code = f"""
import sys; sys.path.insert(0, {str(WATCHING.parent)!r})
import ctypes, os, pickle, shutil, socket, sqlite3, subprocess
from pathlib import Path
import watching
watch = watching.Watch(Path.cwd())
code = compile({WRONG[kind]!r}, "wrong.py", "exec")
sys.addaudithook(watch)
subprocess.run(["git", "--version"], check=True, capture_output=True)
before = dict(watch.seen)
assert not before, before
exec(code)
seen = [each for each in watch.seen if not (each.startswith("exec ") and "wrong.py" in each)]
sys.exit(7 if seen else 0)
"""
    done = subprocess.run([sys.executable, "-B", "-c", code], cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 7, done.stderr.decode()[-2000:]


@pytest.mark.parametrize("command", [["export", "latest", "out"]])
def test_an_export_copies_a_pickle_and_does_not_load_it(repo: Path, command: list[str]) -> None:
    vault = rv.init(repo)
    vault.save(make_result(dump=hostile("os", "system", 2)), strategy="hostile")

    subprocess.run([sys.executable, "-m", "runvault.cli.main", *command], cwd=repo, check=True)
    assert (repo / "out/portfolio.pkl").read_bytes() == hostile("os", "system", 2)
    assert not (repo / "pwned").exists()
