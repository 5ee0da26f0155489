"""Look at an archive in every way, under an audit hook; print what it saw. Run as a script.

::

    watching.py WARM REPO      told as JSON on stdin: {"commands": [[...], ...], "runs": [id, ...]}

All of it is done once in WARM, an archive that is known to be harmless, so that whatever is imported late is there;
then the hook is set, and it is done in REPO. Printed is {"statuses", "seen", "packages"} as JSON.
"""

from __future__ import annotations

import ast
import json
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import redirect_stderr, redirect_stdout
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import Any

import runvault as rv
from runvault.cli.main import run

# Never, whoever asks: code out of data, other programs, the network, compiled code by name.
FORBIDDEN = (
    *("pickle.", "marshal.load", "code.__new__", "function.__new__", "ctypes.", "socket.", "webbrowser."),
    *("os.exec", "os.posix_spawn", "os.spawn", "os.system", "os.fork", "os.startfile", "pty.", "cpython.run"),
    *("ftplib.", "http.", "imaplib.", "nntplib.", "poplib.", "smtplib.", "telnetlib.", "urllib."),
)
# All that may still be imported by then, beside Python's own modules; none that unpickles, and no engine.
UNPICKLERS = frozenset({"pickle", "_pickle", "shelve", "copyreg", "ctypes", "socket", "_socket", "ssl"})
PACKAGES = {"runvault"} | (sys.stdlib_module_names - UNPICKLERS)
# What changes a file, by the places of the paths among the event's arguments.
CHANGES = {
    **dict.fromkeys(("os.rename", "os.link", "os.symlink"), (0, 1)),
    **dict.fromkeys(("os.remove", "os.mkdir", "os.rmdir", "os.chmod", "os.chown", "os.truncate", "os.utime"), (0,)),
    **dict.fromkeys(("os.setxattr", "os.removexattr", "sqlite3.connect", "shutil.rmtree"), (0,)),
    **dict.fromkeys(("shutil.copyfile", "shutil.copymode", "shutil.copystat"), (1,)),
    **dict.fromkeys(("shutil.copytree", "shutil.move", "shutil.chown", "shutil.make_archive"), (0, 1)),
}
RELATIVE = ("os.remove", "os.rmdir")  # to a folder that is open, in what deletes a whole tree
OPEN_FOLDERS = Path("/proc/self/fd")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
CODE = tuple(str(Path(each).resolve()) for each in (sys.prefix, sys.base_prefix, Path(rv.__file__).parent))


class Watch:
    """An audit hook that keeps what it should never have seen."""

    def __init__(self, repository: Path) -> None:
        self.seen: Counter[str] = Counter()
        own = (".git/runvault", ".dvc/cache", ".dvc/tmp")
        self.places = [*(f"{repository / each}{os.sep}" for each in own), f"{tempfile.gettempdir()}{os.sep}runvault-"]

    def __call__(self, event: str, args: tuple[Any, ...]) -> None:
        if self._is_wrong(event, args):
            self.seen[f"{event} {str(args)[:200]}"] += 1

    def _is_wrong(self, event: str, args: tuple[Any, ...]) -> bool:
        if event == "open":
            return _writes(args[1], args[2]) and self._is_outside(args[0])
        if event in CHANGES:
            if event in RELATIVE and args[-1] != -1:
                if not OPEN_FOLDERS.exists():
                    return False  # "shutil.rmtree" told of the whole
                return self._is_outside((OPEN_FOLDERS / str(args[-1])).readlink() / os.fsdecode(args[0]))
            return any(self._is_outside(args[place]) for place in CHANGES[event])
        if event == "subprocess.Popen":
            return Path(os.fsdecode(args[0])).name != "git" or Path(os.fsdecode(args[1][0])).name != "git"
        if event == "import":
            return args[0].partition(".")[0] not in PACKAGES
        if event == "compile":
            return not _is_installed(args[1]) and not _is_condition(args[0], args[1])
        if event == "exec":
            return not _is_installed(args[0].co_filename)
        if event == "marshal.loads":
            return False  # how Python reads its own compiled modules; whose they are "exec" tells
        return event.startswith(FORBIDDEN)

    def _is_outside(self, path: Any) -> bool:
        if isinstance(path, int) or path in (os.devnull, ":memory:", ""):
            return False
        name = os.path.abspath(os.fsdecode(path).removeprefix("file:").partition("?")[0])  # noqa: PTH100 - no look at the disk
        return not any(f"{name}{os.sep}".startswith(place) for place in self.places)


def _writes(mode: Any, flags: Any) -> bool:
    if isinstance(mode, str):
        return bool(set(mode) & set("wax+"))
    return bool((flags or 0) & WRITING)


def _is_installed(filename: Any) -> bool:
    name = os.fsdecode(filename) if isinstance(filename, (str, bytes)) else ""
    return name.startswith((*CODE, "<frozen "))


def _is_condition(source: Any, filename: Any) -> bool:
    """Return whether Python's parser reads the condition of a `list`: a text that becomes a tree, and never code."""
    caller = sys._getframe(3).f_code.co_filename
    return filename == "<unknown>" and caller == ast.__file__


def look_at(commands: Iterable[list[str]], runs: Iterable[str]) -> dict[str, int]:
    """Run commands and ask the Python interface for all that it has on each run; return the commands' statuses."""
    statuses = {}
    for args in commands:
        with redirect_stdout(TextIOWrapper(BytesIO())), redirect_stderr(TextIOWrapper(BytesIO())):
            statuses[" ".join(args)] = run(args)
    vault = rv.open(read_only=True)
    asked: list[Callable[[], Any]] = [
        lambda: vault.list()._repr_html_(),
        lambda: vault.best("total_return"),
        lambda: vault.log(),
        lambda: vault.verify(artifacts=True),
    ]
    for each in runs:
        asked += questions(vault, each)
    for question in asked:
        try:
            question()
        except rv.RunvaultError:
            continue
    return statuses


def questions(vault: rv.Vault, run: str) -> list[Callable[[], Any]]:
    """Return everything that can be asked about a run; its portfolio is left out: that is compiled by numba."""
    names = ("manifest.json", "annotations.json", "stats.parquet", "equity.parquet", "portfolio.pkl")
    return [
        *(lambda name=name: vault.get(run).file(name) for name in names),  # type: ignore[misc]
        lambda: vault.get(run).equity(),
        lambda: vault.get(run).trades(),
        lambda: vault.get(run).orders(),
        lambda: vault.get(run).stats(),
        lambda: vault.get(run).manifest,
        lambda: vault.get(run).replays,
        lambda: vault.get(run)._repr_html_(),
        lambda: vault.history(run),
        lambda: vault.diff(run, "latest").to_dict(),
        lambda: vault.compare([run, "latest"]).to_dict(),
        lambda: vault.similar(run),
    ]


def main(warm: str, repository: str) -> None:
    told = json.load(sys.stdin)
    os.chdir(warm)
    look_at(told["commands"], [run.id for run in rv.open().list()])
    watch = Watch(Path(repository).resolve())
    sys.addaudithook(watch)
    os.chdir(repository)
    statuses = look_at(told["commands"], told["runs"])
    packages = sorted({name.partition(".")[0] for name in sys.modules})
    print(json.dumps({"statuses": statuses, "seen": watch.seen, "packages": packages}))


if __name__ == "__main__":
    main(*sys.argv[1:])
