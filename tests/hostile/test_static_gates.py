"""What the source may not say: nothing but one module reads pickles, and nothing evaluates or goes through a shell."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import runvault

PACKAGE = Path(runvault.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
PICKLES = PACKAGE / "engines" / "vectorbt" / "pickles.py"

UNPICKLERS = {"pickle", "_pickle", "cPickle", "dill", "joblib", "cloudpickle", "shelve", "marshal", "dask.serialize"}
FORBIDDEN_NAMES = {"eval", "exec", "compile", "__import__"}
FORBIDDEN_ATTRIBUTES = {
    "read_pickle",
    "to_pickle",
    "unsafe_load",
    "full_load",
    "getoutput",
    "getstatusoutput",
    "allow_pickle",
}
LOADERS = {("yaml", "load"), ("yaml", "load_all"), ("Portfolio", "load"), ("Portfolio", "loads"), ("vbt", "load")} | {
    ("os", "system"),
    ("os", "popen"),
}


def test_there_is_a_package_to_look_at() -> None:
    assert PACKAGE / "stores" / "tables" / "reading.py" in MODULES


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_reads_no_pickle_evaluates_nothing_and_uses_no_shell(module: Path) -> None:
    found = [
        f"line {line}: {what}"
        for line, what in offences(ast.parse(module.read_text(encoding="utf-8")))
        if not (module == PICKLES and what in UNPICKLERS | {"Portfolio.loads", "Portfolio.load"})
    ]
    assert found == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "import dill as d",
        "from joblib import load",
        "from pickle import loads as read",
        "import importlib; importlib.import_module('pickle')",
        "subprocess.run('ls', shell=True)",
        "subprocess.run('ls', shell=flag)",
        "eval('1')",
        "exec(text)",
        "run = eval",
        "yaml.load(text)",
        "pd.read_pickle(path)",
        "vbt.Portfolio.load(path)",
        "np.load(path, allow_pickle=True)",
        "os.system('ls')",
        "YAML(typ='unsafe')",
    ],
)
def test_the_gate_sees(source: str) -> None:
    assert list(offences(ast.parse(source)))


def offences(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        for what in offence(node):
            yield getattr(node, "lineno", 0), what


def offence(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import | ast.ImportFrom):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
        yield from (name.partition(".")[0] for name in names if name.partition(".")[0] in UNPICKLERS)
    elif isinstance(node, ast.Name) and node.id in FORBIDDEN_NAMES:
        yield node.id
    elif isinstance(node, ast.Attribute):
        yield from attribute(node)
    elif isinstance(node, ast.keyword) and (node.arg, value_of(node.value)) not in SAFE:
        yield f"{node.arg}="
    elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in UNPICKLERS:
        yield node.value


# Of these keywords only these values; of all others any
SAFE_VALUES = {"shell": {False}, "allow_pickle": {False}, "typ": {"safe"}}


class _Safe:
    def __contains__(self, item: tuple[str | None, object]) -> bool:
        name, value = item
        return name not in SAFE_VALUES or value in SAFE_VALUES[name]


SAFE = _Safe()


def value_of(node: ast.AST) -> object:
    return node.value if isinstance(node, ast.Constant) else node


def attribute(node: ast.Attribute) -> Iterator[str]:
    owner = node.value.attr if isinstance(node.value, ast.Attribute) else getattr(node.value, "id", "")
    if node.attr in FORBIDDEN_ATTRIBUTES:
        yield node.attr
    if (owner, node.attr) in LOADERS:
        yield f"{owner}.{node.attr}"
