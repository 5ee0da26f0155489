"""Where a sweep computes: in this process, in warm processes beside it, or on a Dask cluster."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, TypeVar

from runvault.errors import ConfigError
from runvault.execution.grids import Combination
from runvault.execution.own_process import end_quickly, import_engine
from runvault.execution.workers import Answer, Job, forget, keep, work

Kind: TypeAlias = Literal["serial", "processes", "dask"]
KINDS: tuple[Kind, ...] = ("serial", "processes", "dask")
T = TypeVar("T")

WAITING = 4  # calls a worker that are on their way, so that none waits for the next one …
AHEAD = 16  # … nor while a batch is archived, where the answers of so many can be held meanwhile


@dataclass
class Workers:
    """An executor with a job: `window` calls at a time keep all its `count` workers busy.

    `deaths` are what a call raises when the process that worked on it died; at most `near` calls were with workers
    then, the first of those that raise it.
    """

    executor: Executor
    job: Job | str  # its key where the workers keep it
    count: int
    window: int
    near: int
    deaths: tuple[type[BaseException], ...] = (BrokenExecutor,)
    start: Callable[[], Executor] | None = None

    def widen(self, fit: int) -> None:
        """Let more calls be on their way, where the answers of `fit` can be held."""
        if self.window > 1:  # else each is called when it is asked for
            self.window = self.count * max(WAITING, min(AHEAD, fit // self.count))

    def submit(self, combinations: Sequence[Combination]) -> Future[Answer]:
        """Ask for combinations."""
        return self.executor.submit(work, self.job, combinations)

    def renew(self) -> None:
        """Start anew after a death: one process that dies breaks a pool; a cluster starts another by itself."""
        if self.start is not None:
            self.executor.shutdown()
            self.executor = self.start()


@contextmanager
def open_workers(job: Job, kind: str, count: int | None, address: str | None) -> Iterator[Workers]:
    """Open an executor; leaving ends its workers, at once where an exception is on its way.

    Raises
    ------
    ConfigError
        There is no such executor, no Dask, or no scheduler at the address.
    """
    if kind == "serial":
        with SerialExecutor() as executor:
            try:
                yield Workers(executor, job, 1, 1, 1)
            finally:
                forget(job.key)
    elif kind == "processes":
        with _processes(job, count or cpus()) as workers:
            yield workers
    elif kind == "dask":
        with _dask(job, count, address) as workers:
            yield workers
    else:
        raise ConfigError(f"there is no executor {kind!r}", hint=f"one of {', '.join(KINDS)}")


def cpus() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class SerialExecutor(Executor):
    """Calls when it is asked, in this process."""

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Call `fn` and return what it gave as a future that is done."""
        future: Future[T] = Future()
        future.set_running_or_notify_cancel()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


@contextmanager
def _processes(job: Job, count: int) -> Iterator[Workers]:
    before = set(multiprocessing.active_children())
    context = multiprocessing.get_context("spawn")  # a fork would take our threads' locks along

    def start() -> Executor:
        pool = ProcessPoolExecutor(count, mp_context=context, initializer=_start, initargs=(job,))
        with _main_module_hidden(), _deaf_children():
            for _ in range(count):  # a process is started for each call while none is idle
                pool.submit(_nothing)
        return pool

    near = 2 * count + 1  # a pool hands calls on in order: one to each worker, and as many and one more to a queue
    workers = Workers(start(), job.key, count, WAITING * count, near, start=start)
    try:
        yield workers
    except BaseException:
        workers.executor.shutdown(wait=False, cancel_futures=True)
        for child in set(multiprocessing.active_children()) - before:
            child.kill()  # in the middle of a backtest: nothing of a worker's is kept
        raise
    finally:
        workers.executor.shutdown()


def _start(job: Job) -> None:
    """Begin a worker process: Ctrl-C is the caller's affair, and without the caller there is nothing to do."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # where it is not inherited
    threading.Thread(target=_end_with_caller, daemon=True).start()
    end_quickly()
    import_engine()
    keep(job)


def _end_with_caller() -> None:
    caller = multiprocessing.parent_process()
    if caller is not None:
        caller.join()
        os._exit(1)  # a killed caller tells its workers nothing, and they would wait for it for ever


def _nothing() -> None:
    return None


@contextmanager
def _deaf_children() -> Iterator[None]:
    """Let processes that are started meanwhile ignore Ctrl-C from their first moment, without a traceback each."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before: Any = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _main_module_hidden() -> Iterator[None]:
    """Keep new processes from running the caller's script again: they need nothing of it, and it may have no guard."""
    main = sys.modules["__main__"]
    hidden = {name: vars(main)[name] for name in ("__file__", "__spec__") if vars(main).get(name) is not None}
    try:
        for name in hidden:
            setattr(main, name, None)
        yield
    finally:
        for name, value in hidden.items():
            setattr(main, name, value)


@contextmanager
def _dask(job: Job, count: int | None, address: str | None) -> Iterator[Workers]:
    try:
        import dask
        from distributed import Client, KilledWorker, LocalCluster
    except ImportError as error:
        raise ConfigError("Dask is not installed", hint="pip install 'runvault[dask]'") from error
    from runvault.execution.cluster import Keeper

    with ExitStack() as stack:
        if address is None:
            stack.enter_context(_main_module_hidden())  # another worker is started whenever one dies
            # Each call that was near is then tried again by itself: more tries beside others tell nothing.
            with dask.config.set({"distributed.scheduler.allowed-failures": 0}):
                cluster = LocalCluster(n_workers=count or cpus(), threads_per_worker=1, dashboard_address="127.0.0.1:0")
            address = stack.enter_context(cluster).scheduler_address
        try:
            client = stack.enter_context(Client(address))
        except (OSError, ValueError) as error:
            hint = f"is 'dask scheduler' running there? {error}"
            raise ConfigError(f"there is no Dask scheduler at {address!r}", hint=hint) from error
        _require_workers(client, address)
        # What is scattered dies with the workers that have it, and calls that need it then never end.
        client.register_plugin(Keeper(job), name=job.key)
        stack.callback(client.unregister_worker_plugin, job.key)
        executor = stack.enter_context(client.get_executor(pure=False))
        count = max(1, sum(client.nthreads().values()))
        yield Workers(executor, job.key, count, WAITING * count, AHEAD * count, (KilledWorker,))


def _require_workers(client: Any, address: str | None) -> None:
    import dask

    try:
        client.wait_for_workers(1, timeout=dask.config.get("distributed.comm.timeouts.connect"))
    except TimeoutError as error:
        hint = f"start some: dask worker {address}"
        raise ConfigError(f"the Dask scheduler at {address!r} has no workers", hint=hint) from error
