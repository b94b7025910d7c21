"""Work on many images with all cores, in order, with a progress bar and bounded memory."""

import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from types import TracebackType
from typing import Self, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from stages.core.base.stopping import without_ctrl_c

T = TypeVar("T")
R = TypeVar("R")

ITEMS_PER_PROCESS = 32
"""Below so many images per process, starting it costs more than it saves."""


def count_processes(num_items: int) -> int:
    """As many processes as this one may use cores, fewer for little work; 1 means: in this process."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, num_items // ITEMS_PER_PROCESS))


class Workers:
    """A pool of processes for `map`; started at the first call that has enough to do.

    The processes are spawned, not forked: a fork of a process in which TensorFlow runs threads may hang. What they
    import is what the mapped function's module imports, and that must not be TensorFlow.
    """

    def __init__(self) -> None:
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool:
            self._pool.shutdown(cancel_futures=True)

    def map(self, function: Callable[[T], R], items: Sequence[T], *, label: str) -> Iterator[R]:
        """`function` of each item, in order of the items.

        At most a few results per process are held, however slowly the caller takes them.

        Args:
          function: Of a module's top level, with a result that can be pickled.
          items: What to work on.
          label: Of the progress bar.
        """
        processes = count_processes(len(items))
        results = map(function, items) if processes == 1 else self._map_in_pool(function, items, processes)
        yield from show_progress(results, total=len(items), label=label)

    def _map_in_pool(self, function: Callable[[T], R], items: Iterable[T], processes: int) -> Iterator[R]:
        if self._pool is None:
            self._pool = ProcessPoolExecutor(
                processes, mp_context=multiprocessing.get_context("spawn"), initializer=end_with_parent
            )
        waiting: deque[Future[R]] = deque()
        for item in items:
            with without_ctrl_c():  # processes are started when there is work for them
                waiting.append(self._pool.submit(function, item))
            if len(waiting) >= 8 * processes:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def end_with_parent() -> None:
    """Makes this worker end when its parent is killed; by itself it would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def show_progress(results: Iterable[R], *, total: int, label: str) -> Iterator[R]:
    """Passes the results on while a bar on stderr counts them; none where stderr is a file: it would be noise there."""
    columns = (TextColumn("{task.description:<20}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        yield from progress.track(results, total=total, description=label)
