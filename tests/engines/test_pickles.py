from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import corpus
import dill
import pandas as pd
import pytest

from runvault.engines.vectorbt.extend import extend_vectorbt
from runvault.engines.vectorbt.pickles import dump_pickle, load_pickle
from runvault.errors import FormatError

pytestmark = [
    pytest.mark.engine,
    pytest.mark.filterwarnings(r"ignore:isinstance\(obj, DateOffset\)"),  # vectorbt 1.2 under pandas 3
]


@pytest.fixture(scope="module")
def pf() -> Any:
    return corpus.BUILDERS["signals, two"]()


COMPARE = """
import sys
from pathlib import Path
import vectorbt as vbt

for own in sorted(Path(sys.argv[1]).glob("*.own")):
    ours, plain = vbt.Portfolio.load(own), vbt.Portfolio.load(own.with_suffix(".plain"))
    equal = ours == plain and ours.order_records.tobytes() == plain.order_records.tobytes()
    if equal and own.with_suffix(".stats").exists():
        equal = repr(ours.stats(silence_warnings=True)) == repr(plain.stats(silence_warnings=True))
    print(own.stem, equal, "runvault" in sys.modules)
"""
STATS = ("signals, two", "orders, sharing cash", "order function, logs", "sweep by numba", "hours in Berlin")


@pytest.fixture
def by_dill(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return what was left to dill."""
    left: list[Any] = []
    dumps = dill.dumps
    monkeypatch.setattr(dill, "dumps", lambda value, **options: left.append(value) or dumps(value, **options))
    return left


def test_the_dump_of_every_portfolio_is_loaded_as_vectorbts_own_where_there_is_no_runvault(tmp_path: Path) -> None:
    builders = {**corpus.BUILDERS, **{name: build for name, (build, _) in corpus.REFUSED.items()}}
    for number, (name, build) in enumerate(builders.items()):
        pf = build()
        (tmp_path / f"{number}.own").write_bytes(dump_pickle(pf))
        (tmp_path / f"{number}.plain").write_bytes(pf.dumps())
        if name in STATS:
            (tmp_path / f"{number}.stats").touch()

    command = [sys.executable, "-W", "ignore", "-c", COMPARE, str(tmp_path)]
    said = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path).stdout.splitlines()

    assert len(list(tmp_path.glob("*.stats"))) == len(STATS)
    assert sorted(said) == sorted(f"{number} True False" for number in range(len(builders)))


def loaded_elsewhere(content: bytes, tmp_path: Path, expression: str) -> str:
    """Return what an expression over a loaded portfolio says in a process that has nothing of ours."""
    (tmp_path / "portfolio.pkl").write_bytes(content)
    code = f"import vectorbt as vbt; pf = vbt.Portfolio.load('portfolio.pkl'); print({expression})"
    command = [sys.executable, "-W", "ignore", "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path).stdout.strip()


def of_a_notebook(source: str) -> Any:
    """Return `mine`, defined as in a notebook's cell."""
    cell: dict[str, Any] = {"__name__": "__main__"}
    exec(source, cell)  # noqa: S102 - our own
    return cell["mine"]


def labelled(label: Any) -> Any:
    """Return a portfolio with an object of any kind as a column's label."""
    pf = corpus.from_signals()
    return pf.replace(wrapper=pf.wrapper.replace(columns=pd.Index([label, "B"], dtype=object)))


def test_a_portfolio_of_libraries_objects_is_not_left_to_dill(pf: Any, by_dill: list[Any]) -> None:
    assert dump_pickle(pf) == dump_pickle(pf)
    assert by_dill == []


def test_a_function_of_a_notebook_in_a_portfolio_is_loaded_elsewhere(by_dill: list[Any], tmp_path: Path) -> None:
    pf = labelled(of_a_notebook("mine = lambda: 5"))

    assert loaded_elsewhere(dump_pickle(pf), tmp_path, "pf.wrapper.columns[0]()") == "5"
    assert by_dill


def test_a_class_of_a_notebook_in_a_portfolio_is_loaded_elsewhere(
    by_dill: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    label = of_a_notebook("class mine:\n    __str__ = lambda self: 'its text'")
    monkeypatch.setattr(sys.modules["__main__"], "mine", label, raising=False)  # so that a pickle could name it

    assert loaded_elsewhere(dump_pickle(labelled(label())), tmp_path, "pf.wrapper.columns[0]") == "its text"
    assert by_dill


@pytest.mark.parametrize("label", [corpus.direct, corpus.Builder, Path.home], ids=["function", "alias", "method"])
def test_other_objects_come_back_as_labels(label: Any) -> None:
    assert load_pickle(dump_pickle(labelled(label))).wrapper.columns[0] == label


def test_what_is_defined_beside_a_script_is_left_to_vectorbt(by_dill: list[Any]) -> None:
    dump_pickle(labelled(corpus.direct))

    assert by_dill


def test_a_portfolio_with_a_way_of_its_own_is_dumped_its_way(pf: Any) -> None:
    import vectorbt as vbt

    class Own(vbt.Portfolio):  # type: ignore[misc]
        def dumps(self) -> bytes:
            return b"its own"

    assert dump_pickle(Own(**pf.config)) == b"its own"


def test_a_later_vectorbt_is_asked_itself(pf: Any, by_dill: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vectorbt.__version__", "2.0.0")

    dump_pickle(pf)

    assert by_dill


def test_a_portfolio_comes_back_from_its_dump(pf: Any) -> None:
    assert load_pickle(dump_pickle(pf)) == pf


def test_the_dump_is_a_file_that_plain_vectorbt_loads(pf: Any, tmp_path: Any) -> None:
    import vectorbt as vbt

    (tmp_path / "portfolio.pkl").write_bytes(dump_pickle(pf))
    assert vbt.Portfolio.load(tmp_path / "portfolio.pkl") == pf


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda _: b"", "cannot be read: EOFError"),
        (lambda _: b"abc", "cannot be read: UnpicklingError"),
        (lambda pf: dump_pickle(pf)[:-5], "cannot be read: UnpicklingError"),
        (lambda pf: dump_pickle(pf)[:100], "cannot be read: UnpicklingError"),
        (lambda _: pickle.dumps({"total_return": 0.1}), "holds a dict, not a vectorbt.Portfolio"),
        (lambda _: pickle.dumps(None), "holds a NoneType, not a vectorbt.Portfolio"),
        (lambda _: pickle.dumps((b"one", b"two")), "cannot be read"),
        (lambda pf: pf.wrapper.dumps(), "cannot be read: TypeError"),
        (lambda _: b"cno_such_module\nthing\n.", "cannot be read: ModuleNotFoundError"),
        (lambda pf: dill.dumps(pf.stats), "cannot be read"),
    ],
)
def test_what_holds_no_portfolio_is_refused_with_a_hint(pf: Any, damage: Any, reason: str) -> None:
    with pytest.raises(FormatError) as error:
        load_pickle(damage(pf))

    assert reason in str(error.value)
    assert "\n" not in str(error.value)
    assert error.value.hint


def test_what_cannot_be_pickled_is_named(pf: Any) -> None:
    with pytest.raises(FormatError, match="cannot be pickled"):
        dump_pickle(pf.replace(close=pf.close.set_axis([object(), (x for x in ())], axis=1)))


def test_portfolios_get_a_method_that_saves_them(pf: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import vectorbt as vbt

    monkeypatch.setattr(vbt.Portfolio, "save_to_vault", None, raising=False)
    extend_vectorbt(lambda portfolio, **said: (portfolio, said))

    assert pf.save_to_vault(strategy="dual_sma", seed=3) == (pf, {"strategy": "dual_sma", "seed": 3})
