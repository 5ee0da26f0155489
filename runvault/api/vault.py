"""The vault: what users hold of an archive. Everything the command line does is one call here."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from runvault.api.ages import absolute
from runvault.api.arguments import as_count, as_data, as_filters, as_number, as_path, as_seed, as_text, texts
from runvault.api.machine import now, provenance, provenance_here
from runvault.api.run import Run
from runvault.api.runs import Runs
from runvault.api.settings import DEFAULTS, Settings
from runvault.archive.reading import Located, locate, read_members
from runvault.archive.stores import Stores
from runvault.errors import ConfigError, IntegrityError, VaultNotFoundError
from runvault.model.query import Selection

if TYPE_CHECKING:
    from runvault.analysis.compare import Comparison
    from runvault.api.difference import RunDiff
    from runvault.api.replaying import Replayed
    from runvault.api.reviewing import ReviewOf
    from runvault.api.running import Ran
    from runvault.api.saved import Saved, SavedSweep
    from runvault.api.sharing import Shared
    from runvault.api.sweeping import Swept
    from runvault.archive.request import SaveRequest
    from runvault.archive.starting import Started
    from runvault.execution.bisect import BisectOutcome
    from runvault.execution.stale import Staleness
    from runvault.integrity.collecting import Removal
    from runvault.integrity.findings import Report
    from runvault.model.ids import RunId
    from runvault.sharing.bundles import Bundled
    from runvault.sharing.remotes import Named, NamedRemote
    from runvault.stores.git.edits import Signature

Json: TypeAlias = Any
RUN_MEMBERS = frozenset({"params", "settings", "data", "metrics", "code", "lineage", "artifacts", "symbols", "tags"})
RunLike: TypeAlias = "Run | str"
STORAGE = "storage"  # what a remote is called that nobody named


def open_vault(
    path: str | Path = ".",
    branch: str | None = None,
    *,
    read_only: bool = False,
    flags: Mapping[str, str] | None = None,
) -> Vault:
    """Open the archive of the repository at `path` or above it.

    Parameters
    ----------
    path : str or Path
        Any folder of a clone that has the archive branch.
    branch : str, optional
        The archive branch; the configured one by default (``runvault config``).
    read_only : bool
        Skip the check that saving is possible. By default a checkout of the archive branch with changes of its own is
        an error now, not after a backtest of six hours.
    flags : mapping, optional
        Settings that outrank the configured ones.

    Raises
    ------
    VaultNotFoundError
        There is no repository, or it has no archive branch.
    """
    vault = find_vault(path, branch, flags)
    try:
        vault.stores.require_tip()
    except IntegrityError:
        if not read_only:  # who reads is told when something is read, and may want to verify and repair
            raise
    if not read_only:
        from runvault.stores.git.init import check_writable

        check_writable(vault.stores.repository)
    return vault


def init_vault(path: str | Path = ".", branch: str | None = None, *, remote: str | None = None) -> Vault:
    """Make the archive branch of the repository at `path`, and DVC's files where the repository has none; idempotent.

    Parameters
    ----------
    path : str or Path
        The repository, or a folder in it.
    branch : str, optional
        The archive branch, where the settings are not to say.
    remote : str, optional
        Where artifacts go: a folder, or an address that DVC knows. It becomes the archive's DVC remote ``storage``, for
        all who have the archive.

    Raises
    ------
    VaultNotFoundError
        There is no Git repository.
    ConfigError
        `remote` cannot be an address.
    """
    return start_vault(path, branch, remote=remote)[0]


def start_vault(
    path: str | Path = ".", branch: str | None = None, *, remote: str | None = None
) -> tuple[Vault, Started]:
    """Do what `init_vault` does, and return what was done, too."""
    from runvault.archive.starting import init_archive

    vault = find_vault(path, branch)
    if remote is not None:
        from runvault.sharing.remotes import check_remote

        check_remote(STORAGE, remote)
    started = init_archive(vault.stores)
    if remote is not None:
        vault.add_remote(STORAGE, remote)
    return vault, started


def read_settings(path: str | Path = ".", branch: str | None = None) -> Settings:
    """Return the settings in force at `path`, whether it has an archive or not."""
    return find_vault(path, branch).settings


def find_vault(path: str | Path = ".", branch: str | None = None, flags: Mapping[str, str] | None = None) -> Vault:
    """Return the vault of the repository at `path`, whether it has the archive branch or not: a pull makes one.

    Raises
    ------
    VaultNotFoundError
        There is no repository.
    """
    from runvault.execution.pipelines import repository_behind
    from runvault.stores.git.repository import Repository

    if not Path(path).is_dir():
        raise VaultNotFoundError(f"there is no folder {str(path)!r}", hint="name a Git repository, or a folder in it")
    said: dict[str, str | None] = {**(flags or {}), "branch": branch}
    place = Path(path).absolute()
    code = repository = Repository.find(place, branch or DEFAULTS["branch"])
    real = repository_behind(repository.work_tree or place)
    if real is not None:  # a DVC experiment's throw-away clone: the archive is that of the repository behind it
        place, repository = real, Repository.find(real, repository.branch)
    settings = Settings(repository.config, said)
    if settings.branch != repository.branch:
        repository = Repository.find(place, settings.branch)
    return Vault(Stores(repository, code), settings)


class Vault:
    """An archive of runs, on one branch of one repository."""

    def __init__(self, stores: Stores, settings: Settings) -> None:
        self.stores = stores
        self.settings = settings

    def __repr__(self) -> str:
        return f"<Vault {self.branch} in {self.stores.repository.common_dir}>"

    @property
    def branch(self) -> str:
        """Return the name of the archive branch."""
        return self.stores.repository.branch

    @property
    def author(self) -> Signature:
        """Return whom git would name as the author here; marked as a fallback where git knows nobody."""
        return self.stores.repository.identity()

    def save(
        self,
        result: Any,
        *,
        strategy: str,
        params: Mapping[str, Json] | None = None,
        settings: Mapping[str, Json] | None = None,
        data: Mapping[str, str | Path] | str | Path | None = None,
        seed: int = 0,
        tags: Sequence[str] = (),
        note: str = "",
        portfolio: bool = True,
        allow: Sequence[str] = (),
    ) -> Saved:
        """Archive one backtest.

        Parameters
        ----------
        result : vectorbt.Portfolio or Result
            What the engine produced. A portfolio of several columns is one run whose headline metrics are vectorbt's
            own means over the columns; `save_sweep` makes a run of each.
        strategy : str
            Name of the strategy.
        params, settings : mapping, optional
            What was asked for; with `data` they decide the run's address.
        data : mapping of name to path, or a path alone, optional
            The input files, ``prices`` where no name is said; without them the portfolio's own prices are
            fingerprinted.
        seed : int
            0 to 2^63-1.
        portfolio : bool
            Whether to archive the engine's own dump beside the tables.
        allow : sequence of str
            Names that look like credentials and may be archived all the same.

        Returns
        -------
        Saved
            ``.run``, ``.created`` (false where an equal result was there already) and ``.drift`` (None, or how the
            result differs from what the same address gave before).

        Raises
        ------
        ConfigError
            A value has no canonical form, or looks like a credential; the message names its path.
        """
        from runvault.api.saved import Saved
        from runvault.archive.saving import save_result
        from runvault.engines import extract

        request = self._request(strategy, params, settings, data, seed, tags, note, portfolio, allow)
        outcome = save_result(self.stores, extract(result), request, provenance_here(self.stores))
        return Saved(self, outcome)

    def save_sweep(
        self,
        result: Any,
        *,
        strategy: str,
        params: Mapping[str, Json] | None = None,
        settings: Mapping[str, Json] | None = None,
        data: Mapping[str, str | Path] | str | Path | None = None,
        seed: int = 0,
        tags: Sequence[str] = (),
        note: str = "",
        portfolio: bool = True,
        allow: Sequence[str] = (),
    ) -> SavedSweep:
        """Archive a multi-column portfolio: one run a column, all in one commit.

        Parameters
        ----------
        result : vectorbt.Portfolio
            Ungrouped. The names and values of its column levels are parameters; a level that names the asset
            (``symbol``, ``ticker``, …) is data.
        params : mapping, optional
            Parameters that all columns share.

        Returns
        -------
        SavedSweep
            A sequence of `Saved`, in the order of the columns.
        """
        from runvault.api.saved import SavedSweep
        from runvault.archive.sweeping import save_sweep
        from runvault.engines import extract_sweep

        request = self._request(strategy, params, settings, data, seed, tags, note, portfolio, allow)
        outcomes = save_sweep(self.stores, extract_sweep(result), request, provenance_here(self.stores))
        return SavedSweep(self, outcomes)

    def run(self, entry: str, **said: Any) -> Ran:
        """Import a function, call it, and archive what it returns.

        Parameters
        ----------
        entry : str
            ``FILE.py:function`` or ``module:function``; the repository's root is first on ``sys.path``.
        **said
            ``strategy`` (the function's name by default), ``params``, ``settings``, ``data`` (input files by
            argument, read by their extension), ``seed``, ``tags``, ``note``, ``portfolio``, ``allow`` as for `save`;
            ``force`` runs what is archived already, ``require_clean`` refuses uncommitted code, ``snapshot_all`` keeps
            all untracked files with the code, not only those that were imported; ``start``, ``end`` and ``interval``
            cut and resample the inputs that are time series, and ``series`` declares which are, in place of those whose
            index or one column holds times: names, or a mapping of names to the column of their times. Imported files
            that look like credentials are never kept with the code, and refused unless ``allow`` names them.

        Returns
        -------
        Ran
            A `Saved`, with ``computed`` false where an equal run was archived from equal code already.

        Raises
        ------
        ReplayError
            The entry cannot be imported or called, or returns no result.
        ConfigError
            It does not take what was said.
        """
        from runvault.api.running import run

        return run(self, entry, said)

    def sweep(
        self,
        entry: str,
        grid: Mapping[str, Sequence[Json]],
        *,
        random: int | None = None,
        executor: str | None = None,
        workers: int | None = None,
        dask: str | None = None,
        vectorized: bool = False,
        progress: Callable[[int, int], Any] | None = None,
        **said: Any,
    ) -> Swept:
        """Call a function for every combination of a grid and archive what it returns, a batch a commit.

        Combinations that equal code has archived already are not computed again: a sweep that was ended goes on where
        it was when it is started again.

        Parameters
        ----------
        entry : str
            As for `run`.
        grid : mapping of str to sequence
            The values of each parameter, as in ``{"fast": [5, 10], "slow": range(20, 60, 10)}``.
        random : int, optional
            Draw this many of the combinations, with the seed.
        executor : str, optional
            ``serial``, ``processes`` (by default), or ``dask``: a cluster on this machine where no address is given.
        workers : int, optional
            How many processes; as many as there are processors by default.
        dask : str, optional
            The address of a Dask scheduler.
        vectorized : bool
            The function takes arrays, one element a combination, and returns a portfolio of one column each.
        progress : callable, optional
            Told how many combinations are done, and how many there are.
        **said
            As for `run`; ``params`` are what all combinations share.

        Returns
        -------
        Swept
            ``.total``, ``.archived``, ``.skipped``, ``.failed``, ``.ids`` and ``.skipped_ids``.

        Raises
        ------
        ReplayError
            The entry cannot be imported, or worker processes die whatever they are given; what was finished by then is
            archived.
        ConfigError
            The entry does not take what was said, or the grid or the executor is none.
        """
        from runvault.api.sweeping import sweep

        return sweep(
            self,
            entry,
            grid,
            random=random,
            executor=executor,
            workers=workers,
            dask=dask,
            vectorized=vectorized,
            progress=progress,
            said=said,
        )

    def run_command(self, command: Sequence[str], result: str | Path, **said: Any) -> Ran:
        """Run any program in the current folder, and archive the result that it leaves.

        Parameters
        ----------
        command : sequence of str
            The program and its arguments; ``{name}`` in them stands for a parameter's or setting's value, an input's
            path, ``{seed}`` and ``{result}``. As given here it is the parameter ``command`` of the run.
        result : str or Path
            Where the program leaves the pickle of its ``vectorbt.Portfolio``, in the repository. It is unpickled, which
            runs what it holds. A file that was there before does not count.
        **said
            As for `run`, but for ``start``, ``end`` and ``interval``. ``strategy`` is the script's name by default.

        Returns
        -------
        Ran
            A `Saved`, with ``computed`` false where an equal run was archived from equal code already.

        Raises
        ------
        ReplayError
            The program cannot be started, ends with another status than 0, or leaves no result.
        """
        from runvault.api.running import run_command

        return run_command(self, command, result, said)

    def replay(self, ref: RunLike, **said: Any) -> Replayed:
        """Run an archived run again, in the code and on the data that were recorded, in a process of its own.

        Parameters
        ----------
        **said
            Overrides, which make a new run: ``set`` (a mapping such as ``{"params.fast": 20}``), ``start``, ``end``,
            ``interval``, ``cash``, ``seed``, ``data``. Besides: ``at`` (another commit of the code), ``rtol``
            (``close`` is the same orders with all values within it, relative; 1e-9 by default), ``timeout`` in seconds,
            ``record`` (keep the verdict with the run), ``trust_code`` (run code of others).

        Returns
        -------
        Replayed
            ``.verdict`` (``exact``, ``close``, ``drift``, ``failed``; ``changed`` with overrides), ``.run``,
            ``.metrics`` and ``.reason``.

        Raises
        ------
        ReplayError
            There is no recipe, the code or the data is not here, or the code is not yours.
        ConfigError
            The recipe cannot take an override.
        """
        from runvault.api.replaying import replay

        return replay(self, self._located(ref), said)

    def replay_lines(self, ref: RunLike) -> str:
        """Return the shell and Python lines that run a run by hand in a fresh clone."""
        from runvault.archive.reading import read_manifest
        from runvault.execution.printing import replay_lines

        return replay_lines(read_manifest(self.stores, self._located(ref)), self.branch)

    def check(self, tag: str = "golden", **said: Any) -> Sequence[Replayed]:
        """Replay every run that has `tag`; ``trust_code``, ``timeout`` and ``record`` as for `replay`."""
        from runvault.api.replaying import check

        return check(self, tag, said)

    def bisect(
        self,
        ref: RunLike,
        *,
        good: str,
        bad: str,
        metric: str | None = None,
        tol: float = 0.0,
        timeout: float | None = None,
        trust_code: bool = False,
        ask: Callable[[str], bool] | None = None,
    ) -> BisectOutcome:
        """Find the first commit of the code at which the replay of a run drifts, as ``git bisect`` searches.

        Each step is a replay in a process of its own; commits that cannot run are skipped. `good` is not tested, `bad`
        only where nothing between them drifts. Verdicts are kept, and a later search does not replay them again.

        Parameters
        ----------
        good, bad : str
            Commits of the code: at `good` the archived numbers came out, at `bad` others do.
        metric, tol : str, float
            Call a commit bad where this metric differs by more than `tol` from the archived one, instead of where the
            verdict is ``drift``. In the metric's own unit, a fraction for ratios.
        timeout : float, optional
            Seconds after which a replay is ended; the commit is skipped.
        trust_code : bool
            Run code of others.

        Returns
        -------
        BisectOutcome
            ``.first_drift`` and ``.tested``, each with ``commit``, ``verdict`` and ``replayed``.

        Raises
        ------
        ReplayError
            Nothing drifts, or only commits that cannot run are left.
        ConfigError
            A commit is not here, `good` is not an ancestor of `bad`, or the run has no such metric.
        """
        from runvault.api.replaying import bisect
        from runvault.execution.bisect import BisectRequest

        tol, timeout_s = as_number(tol, "tol", 0) or 0.0, as_number(timeout, "timeout", 0, above=True)
        request = BisectRequest(good=good, bad=bad, metric=metric, tol=tol, timeout_s=timeout_s, trusted=trust_code)
        return bisect(self, self._located(ref), request, ask)

    def stale(self, **filters: Any) -> Staleness:
        """Return the runs whose code or data differ from what the working tree has now; nothing is run or imported.

        Parameters
        ----------
        **filters
            As for `list`.

        Returns
        -------
        Staleness
            ``.runs``, each with ``run`` (its id), ``code`` (paths) and ``data`` (names of inputs), in the order of
            `list`; and ``.without_recipe``, how many of the selected runs nothing can be said of.
        """
        from runvault.execution.stale import find_stale

        return find_stale(self.stores, self.selection(**filters))

    def _request(
        self,
        strategy: str,
        params: Mapping[str, Json] | None,
        settings: Mapping[str, Json] | None,
        data: Mapping[str, str | Path] | str | Path | None,
        seed: int,
        tags: Sequence[str],
        note: str,
        portfolio: bool,
        allow: Sequence[str],
    ) -> SaveRequest:
        from runvault.archive.request import SaveRequest

        return SaveRequest(
            strategy=strategy,
            params=params or {},
            settings=settings or {},
            data=as_data(data or {}),
            seed=as_seed(seed),
            tags=texts(tags or ()),
            note=as_text(note or "", "note"),
            pickles=self.settings.pickles if portfolio else "none",
            allow=texts(allow),
        )

    def get(self, ref: RunLike) -> Run:
        """Return the run that `ref` names: an id or its beginning, an alias, ``latest``, with ``~1`` or ``@commit``.

        Raises
        ------
        RunNotFoundError, AmbiguousRunError
            None or several answer to it.
        """
        if isinstance(ref, Run):
            return ref
        return self.at(self._located(ref))

    def at(self, located: Located) -> Run:
        """Return the run that was found already: for those who have its full id, and the commit that they mean."""
        return Run(self.stores, located, self._restated(located, read_members(self.stores, located)))

    def _restated(self, located: Located, members: dict[str, Json]) -> dict[str, Json]:
        """Return a run's JSON on the configured definition of the Sharpe ratio, if there is one."""
        if self.settings.periods_per_year is None:
            return members
        from runvault.archive.listing import on_one_definition
        from runvault.archive.reading import read_manifest

        return on_one_definition(
            members, read_manifest(self.stores, located)["moments"], self.settings.periods_per_year
        )

    def has(self, ref: str) -> bool:
        """Return whether a run answers to `ref`; raises where it is there and damaged."""
        from runvault.errors import RunNotFoundError

        try:
            self.get(ref)
        except RunNotFoundError:
            return False
        return True

    def list(self, selection: Selection | None = None, **filters: Any) -> Runs:
        """Return runs, newest first.

        Parameters
        ----------
        **filters
            The members of `Selection`: ``strategy``, ``engine``, ``symbol``, ``tags`` (all of them), ``any_tags``,
            ``where`` (a condition such as ``"sharpe_ratio > 1 and params.fast < 20"``), ``search``, ``since`` and
            ``until`` (ISO dates or ``30d``), ``config_hash``, ``seed``, ``sort``, ``limit``, ``offset``, and
            ``periods_per_year``, which puts all Sharpe ratios on one definition.

        Raises
        ------
        ConfigError
            `where` is not a condition, or names what no run has.
        """
        chosen = selection or self.selection(**filters)
        return Runs([self._run(row) for row in self.iter_members(chosen)], lambda: self.count(chosen))

    def iter_members(self, selection: Selection) -> Iterator[dict[str, Json]]:
        """Yield the listed runs as JSON, one at a time: a listing of any length takes little memory."""
        from runvault.archive.listing import listed

        return listed(self.stores, selection)

    def count(self, selection: Selection | None = None, **filters: Any) -> int:
        """Return how many runs are selected, whatever `limit` and `offset` are."""
        return self.stores.catalog().count(self.stores.repository.ref, selection or self.selection(**filters))

    def selection(self, **filters: Any) -> Selection:
        """Return the selection that `filters` make, with relative times resolved and settings applied."""
        taken = {"periods_per_year": self.settings.periods_per_year, **as_filters(filters)}
        at = now()
        for name in ("since", "until"):
            if name in taken:
                taken[name] = absolute(taken[name], at)
        return Selection(**taken)

    def best(self, metric: str = "sharpe_ratio", n: int = 10, **filters: Any) -> Runs:
        """Return the leaderboard: the `n` best runs by `metric`, undefined last; the direction follows the metric.

        Raises
        ------
        ConfigError
            No run has a metric of this name.
        """
        from runvault.model.metrics import sort_order

        self._require_metric(metric)
        return self.list(sort=sort_order(metric), limit=n, **filters)

    def similar(self, ref: RunLike, tolerance: float = 0.1) -> Runs:
        """Return runs of the same strategy and engine whose numeric parameters lie within `tolerance`.

        A parameter is near where ``|a - b| <= tolerance * max(|a|, |b|)``; others must be equal.
        """
        from runvault.analysis.similar import similar_members

        rows = similar_members(self.stores, self.get(ref).to_dict(), as_number(tolerance, "tolerance", 0) or 0.0)
        return Runs([self._run(row) for row in rows], lambda: len(rows))

    def history(self, ref: RunLike) -> Sequence[Run]:
        """Return the revisions of a run, oldest first; one that is damaged is left out, and named on stderr."""
        from runvault.archive.history import revisions_of

        run = locate(self.stores, str(ref), removed=True).id
        found = revisions_of(self.stores, run)
        return [Run(self.stores, located, self._restated(located, members)) for located, members in found]

    def log(self, limit: int | None = None, *, runs: bool = True) -> Sequence[dict[str, Json]]:
        """Return the archive's commits, newest first: `commit, kind, subject, author, time, runs`.

        Without `runs` a sweep's are left out, which only its trees tell: fifty sweeps of a thousand runs take a second.
        """
        from runvault.archive.history import archive_log

        return archive_log(self.stores, as_count(limit, "limit", 0), runs=runs)

    def diff(self, a: RunLike, b: RunLike) -> RunDiff:
        """Return what differs between two runs: config, metrics, trades, equity, code, environment."""
        from runvault.analysis.diff import diff_runs
        from runvault.api.difference import RunDiff

        periods = self.settings.periods_per_year
        return RunDiff(**vars(diff_runs(self.stores, self._located(a), self._located(b), periods)))

    def review(self, span: str = "..", *, metric: str = "sharpe_ratio", n: int = 10) -> ReviewOf:
        """Look at what one state of an archive adds to another: what a pull request brings.

        Nothing is unpickled, imported, run or written, and this clone need not have an archive branch of its own.

        Parameters
        ----------
        span : str
            ``BASE..HEAD``, two archive commits or refs such as ``origin/runvault..runvault``. A side that is left out
            is the archive branch of the configured remote, or the archive branch.
        metric, n : str, int
            What the leaderboard is by, and how long it is.

        Returns
        -------
        ReviewOf
            ``.new``, ``.revisions``, ``.removed``, ``.annotations``, ``.before``, ``.after``, ``.code``, ``.data``,
            ``.warnings``, ``.damaged``; ``.markdown()``, ``.html()`` and ``.to_dict()``. It prints as Markdown.

        Raises
        ------
        VaultNotFoundError
            A side holds no archive.
        ConfigError
            `span` has no dots, a side is no commit of this clone, or no run of either has a metric of that name.
        """
        from runvault.api.reviewing import review

        return review(self, span, metric, n)

    def compare(self, refs: Sequence[RunLike], *, everything: bool = False) -> Comparison:
        """Return a table of runs, a run a column: the fields that differ, or all of them."""
        from runvault.analysis.compare import compare_members

        return compare_members([self.get(ref).to_dict() for ref in _several(refs)], everything=everything)

    def tag(
        self, refs: RunLike | Sequence[RunLike], add: Sequence[str] = (), remove: Sequence[str] = ()
    ) -> Sequence[Run]:
        """Add and remove tags, of one run or of several in one commit; return the runs as they are then."""
        from runvault.archive.changing import annotate_runs

        who = provenance(self.stores)
        runs = self._ids(refs)
        add, remove = texts(add), texts(remove)
        subject = "Tag " + ", ".join([*(f"+{tag}" for tag in add), *(f"-{tag}" for tag in remove)])
        annotate_runs(
            self.stores, runs, lambda old, at: old.with_tags(add=add, remove=remove, at=at, by=who.author), subject, who
        )
        return [self.get(str(run)) for run in runs]

    def note(self, ref: RunLike, text: str) -> Run:
        """Add a note to a run; return the run as it is then."""
        from runvault.archive.changing import annotate_runs

        who, text = provenance(self.stores), as_text(text, "note")
        run = self._located(ref).id
        annotate_runs(
            self.stores, [run], lambda old, at: old.with_note(text, at=at, by=who.author), f"Note on {run.short}", who
        )
        return self.get(str(run))

    def alias(self, name: str, ref: RunLike) -> Run:
        """Give a run a name of its own; a name that another run has moves here. Return the run as it is then."""
        from runvault.archive.naming import alias_run

        run = self._located(ref).id
        alias_run(self.stores, as_text(name, "alias"), run, provenance(self.stores))
        return self.get(str(run))

    def remove(self, refs: RunLike | Sequence[RunLike]) -> Sequence[str]:
        """Take runs off the tip of the archive; history keeps them, and `restore` brings them back."""
        from runvault.archive.changing import remove_runs

        runs = self._ids(refs)
        remove_runs(self.stores, runs, provenance(self.stores))
        return [str(run) for run in runs]

    def space_of(self, refs: RunLike | Sequence[RunLike]) -> int:
        """Return the size of the artifacts that these runs alone need, in bytes: what `gc` can free without them."""
        from runvault.integrity.retention import space_of

        return space_of(self.stores, self._ids(refs))

    def prune(
        self,
        *,
        keep_last: int | None = None,
        keep_best: int | None = None,
        metric: str = "sharpe_ratio",
        keep_tags: Sequence[str] = (),
        older_than: str | None = None,
        dry_run: bool = False,
    ) -> Removal:
        """Take runs off the tip by a policy; what any of the arguments keeps stays, each strategy by itself.

        Parameters
        ----------
        keep_last : int, optional
            The newest runs.
        keep_best : int, optional
            The best runs by `metric`; undefined is never among the best.
        keep_tags : sequence of str
            Runs with any of these tags.
        older_than : str, optional
            A time, or an age such as ``90d``: younger runs are kept.
        dry_run : bool
            Find out, and remove nothing.

        Returns
        -------
        Removal
            ``.removed``, the ids, and ``.size_bytes``, what `gc` can free then. History keeps the runs.

        Raises
        ------
        ConfigError
            Nothing is said to be kept, or no run has the metric.
        """
        from runvault.integrity.retention import Policy, prune
        from runvault.model.query import normalise_time

        older = None if older_than is None else normalise_time(absolute(older_than, now()))
        policy = Policy(keep_last, keep_best, metric, texts(keep_tags), older)
        return prune(self.stores, policy, provenance(self.stores), dry_run=dry_run)

    def gc(self, keep_history: int | None = None, *, dry_run: bool = False) -> Removal:
        """Drop the objects that nothing kept needs, from the DVC cache and from keep.

        Pointers to input data that no run needs any more leave the tip before, in a commit of their own.

        Parameters
        ----------
        keep_history : int, optional
            How many revisions of each run at a tip; all of them by default.
        dry_run : bool
            Find out, and remove nothing.

        Returns
        -------
        Removal
            ``.removed``, the objects, and ``.size_bytes``, the space they took.

        Raises
        ------
        IntegrityError
            History is damaged or incomplete, so that nobody can say what is needed; nothing is removed.
        """
        from runvault.integrity.collecting import collect

        if keep_history is not None and keep_history < 1:
            raise ConfigError("the revision at the tip is always kept", "say how many, from 1, or leave it out")
        return collect(self.stores, provenance(self.stores), keep_history, dry_run=dry_run)

    def restore(self, ref: RunLike) -> Run:
        """Put a run back from history: its last revision that is whole, or the one that ``@commit`` or ``~1`` names."""
        return self.put_back(ref)[0]

    def put_back(self, ref: RunLike) -> tuple[Run, bool]:
        """Do what `restore` does, and return whether anything was changed, too."""
        from runvault.archive.restoring import restore

        text = ref if isinstance(ref, str) else f"{ref.id}@{ref.located.commit}" if ref.located.commit else ref.id
        run, changed = restore(self.stores, text, provenance(self.stores))
        return self.get(str(run)), changed

    def export(
        self, ref: RunLike, folder: str | Path, *, replacing: Callable[[Path], None] | None = None
    ) -> Sequence[Path]:
        """Write the files of a run into `folder`, and the engine's pickle made from its tables where it has none.

        Files of these names that are there are replaced; `replacing` is told of one that holds something else.
        """
        from runvault.archive.exporting import export_run

        return export_run(self.stores, self._located(ref), as_path(folder, "the folder"), replacing)

    def verify(
        self,
        refs: Sequence[RunLike] = (),
        *,
        artifacts: bool = False,
        recompute: bool = False,
        signatures: bool = False,
        repair: bool = False,
    ) -> Report:
        """Check addresses, digests, schema, pointers and objects, and Git's own files; nothing is changed.

        Parameters
        ----------
        refs : sequence of str or Run
            Which runs; all of them by default.
        artifacts : bool
            Read every table too, and compute the results digests from them.
        recompute : bool
            Compute the statistics anew from archived prices and orders, and compare.
        signatures : bool
            Check who signed the archive's commits, against git's allowed signers and the user's keyring.
        repair : bool
            Heal what a second copy can heal: objects from the cache, from keep and the DVC remote, Git's files from
            Git remotes, the catalog from the archive. The findings are then what is left.
        """
        from runvault.integrity.verify import Checks, verify, verify_and_repair

        runs = [self._located(ref).id for ref in refs] or None
        return (verify_and_repair if repair else verify)(self.stores, runs, Checks(artifacts, recompute, signatures))

    def push(self, remote: str | None = None, *, artifacts: bool = True, data: bool = True, **how: Any) -> Shared:
        """Send the archive to a Git remote and its objects to the DVC remote; what is new there is merged first.

        Parameters
        ----------
        remote : str, optional
            The Git remote, ``origin`` unless configured. Objects go to the default DVC remote.
        artifacts, data : bool
            Whether the artifacts of runs, and the input data, go along.
        **how
            `tell` is called with how many objects of how many are done; `announce` with new input data (path to size)
            and where it goes, before it is sent. With `again` the DVC remote is asked for objects that were sent to it
            before, too: what it lost it gets again.
        """
        from runvault.api.sharing import push

        return push(self, remote, artifacts=artifacts, data=data, **how)

    def pull(self, remote: str | None = None, *, artifacts: bool = True, data: bool = True, **how: Any) -> Shared:
        """Bring what a Git remote has, checked run by run, and its objects from the DVC remote.

        With `again` also those that the DVC remote did not have when it was asked before.
        """
        from runvault.api.sharing import pull

        return pull(self, remote, artifacts=artifacts, data=data, **how)

    def merge(self, ref: str) -> Shared:
        """Bring in the archive at a branch or commit of this repository; never a conflict, never lost history."""
        from runvault.api.sharing import merge_ref

        return merge_ref(self, ref)

    def bundle(self, path: str | Path, **filters: Any) -> Bundled:
        """Write the runs that `filters` choose (see `list`), or all, into one file, with their artifacts and code."""
        from runvault.api.sharing import bundle

        return bundle(self, path, self.selection(**filters) if filters else None)

    def unbundle(self, path: str | Path) -> Shared:
        """Take runs, artifacts and code out of a file that `bundle` wrote."""
        from runvault.api.sharing import unbundle

        return unbundle(self, path)

    def remotes(self) -> Sequence[NamedRemote]:
        """Return the remotes that push and pull may use: Git's, and DVC's for the objects."""
        from runvault.api.sharing import list_remotes

        return list_remotes(self)

    def add_remote(self, name: str, url: str) -> Named:
        """Name a DVC remote in the archive, for all who have it; return its `url`, and the one `before` if any."""
        from runvault.api.sharing import add_remote

        return add_remote(self, name, url)

    def remove_remote(self, name: str) -> None:
        """Take a DVC remote out of the archive; what it holds stays there."""
        from runvault.api.sharing import remove_remote

        remove_remote(self, name)

    def reindex(self) -> int:
        """Rebuild the catalog from the archive; return the number of runs."""
        self.stores.rebuild_catalog()
        return self.count()

    def locate(self, ref: RunLike) -> str:
        """Return the full id that `ref` means, also of a run that was removed."""
        return str(locate(self.stores, str(ref), removed=True).id)

    def check_columns(self, names: Sequence[str]) -> None:
        """Refuse names that no listed run has, as fields, metrics, parameters or settings.

        Raises
        ------
        ConfigError
            Naming the first of them, with near names.
        """
        catalog, ref = self.stores.catalog(), self.stores.repository.ref
        for name in names:
            if name not in RUN_MEMBERS:
                catalog.require_name(ref, name)

    def definitions(self, ids: Sequence[str]) -> Mapping[str, Mapping[str, Json]]:
        """Return how the metrics of listed runs are defined, by id: periods a year, risk-free return, engine."""
        from runvault.archive.listing import definitions_of

        return definitions_of(self.stores, ids)

    def damaged(self) -> Sequence[tuple[str, str]]:
        """Return the runs at the tip that cannot be read, each with its problem; they hide no other run."""
        return list(self.stores.catalog().damaged(self.stores.repository.ref))

    def complete_runs(self, beginning: str) -> Sequence[str]:
        """Return ids and aliases that begin so, for a shell."""
        return self.stores.catalog().complete(self.stores.repository.ref, beginning)

    def complete_values(self, kind: str) -> Sequence[str]:
        """Return the strategies, tags, metrics or names of fields that the archive has."""
        return self.stores.catalog().values(self.stores.repository.ref, kind)

    def _require_metric(self, metric: str) -> None:
        known = self.complete_values("metric")
        if known and metric.removeprefix("metrics.") not in known:
            near = difflib.get_close_matches(metric, known, n=3)
            hint = f"near: {', '.join(near)}" if near else "see 'runvault show RUN' for those that a run has"
            raise ConfigError(f"no run has a metric {metric!a}", hint=hint)

    def _located(self, ref: RunLike) -> Located:
        if isinstance(ref, Run):
            return ref.located
        if not isinstance(ref, str):
            raise ConfigError(f"a run is referred to by text, not by {type(ref).__name__}")
        return locate(self.stores, ref)

    def _ids(self, refs: RunLike | Sequence[RunLike]) -> Sequence[RunId]:
        """Return the runs that references mean, each once."""
        return tuple(dict.fromkeys(self._located(ref).id for ref in _several(refs)))

    def _run(self, members: dict[str, Json]) -> Run:
        from runvault.model.ids import RunId

        return Run(self.stores, Located(RunId.parse(members["id"])), members)


def _several(refs: RunLike | Sequence[RunLike]) -> Sequence[RunLike]:
    return [refs] if isinstance(refs, (Run, str)) or not isinstance(refs, Iterable) else refs
