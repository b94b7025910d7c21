"""Many processes give what one gives, in order, without TensorFlow, and without hoarding results."""

import sys
from collections.abc import Iterator

import pytest

from stages.core.datasets import workers
from stages.core.datasets.workers import Workers, count_processes


def square(value: int) -> int:
    return value * value


def fail_at_seven(value: int) -> int:
    if value == 7:
        raise ValueError("seven")
    return value


def heavy_modules(_: int) -> list[str]:
    import stages.core.datasets.prepare  # noqa: F401

    return sorted({"tensorflow", "mlflow", "official"} & set(sys.modules))


@pytest.fixture
def two_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "count_processes", lambda _: 2)


def test_few_items_need_no_processes() -> None:
    assert count_processes(5) == 1
    assert count_processes(10**6) >= 1


@pytest.mark.usefixtures("two_processes")
def test_pool_gives_what_one_process_gives_in_order() -> None:
    with Workers() as pool:
        assert list(pool.map(square, range(100), label="squares")) == [square(value) for value in range(100)]
        assert list(pool.map(heavy_modules, range(4), label="modules")) == [[]] * 4


@pytest.mark.usefixtures("two_processes")
def test_error_of_a_worker_arrives() -> None:
    with Workers() as pool, pytest.raises(ValueError, match="seven"):
        list(pool.map(fail_at_seven, range(100), label="fails"))


def test_results_are_not_hoarded() -> None:
    taken = []

    class Items(list[int]):
        def __iter__(self) -> Iterator[int]:
            for value in range(1000):
                taken.append(value)
                yield value

    with Workers() as pool:
        results = pool._map_in_pool(square, Items(), 2)
        assert [next(results) for _ in range(3)] == [0, 1, 4]
        assert len(taken) < 50
