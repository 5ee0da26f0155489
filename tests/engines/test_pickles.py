from __future__ import annotations

import pickle
from typing import Any

import corpus
import dill
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
