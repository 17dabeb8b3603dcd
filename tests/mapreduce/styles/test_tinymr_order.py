"""tinymr's results are in the order of the data, in this process, on workers and from disk."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import cloudpickle
import pytest

from mapreduce import Split, TextFiles
from mapreduce.styles import tinytask
from mapreduce.styles.ordering import keeping_places
from mapreduce.styles.running import run
from mapreduce.styles.tinymr import MapReduce, MemMapReduce, popitems, single_key_output

cloudpickle.register_pickle_by_value(sys.modules[__name__])

WORDS = [f"{'abc'[n * 7 % 3]}{n * 11 % 17}" for n in range(60)]


class ByInitial(MapReduce):
    """Many keys of mappers become few of reducers."""

    def mapper(self, word: str) -> Any:
        yield word, 1

    def reducer(self, word: str, ones: Any) -> Any:
        return word[0], word


class AllByInitial(ByInitial):
    def reducer(self, word: str, ones: Any) -> Any:
        yield word[0], (word, sum(ones))


def expected() -> dict[str, list[tuple[str, int]]]:
    found: dict[str, list[tuple[str, int]]] = {}
    for word in dict.fromkeys(WORDS):
        found.setdefault(word[0], []).append((word, WORDS.count(word)))
    return found


def test_of_several_values_that_reducers_return_the_same_is_the_first_everywhere(
    anywhere: Any,
) -> None:
    found = ByInitial()(WORDS, space=anywhere, reduce_tasks=7)
    assert list(found.items()) == [(key, words[0][0]) for key, words in expected().items()]


@pytest.mark.parametrize("chunksize", [1, 8])
def test_values_that_reducers_yield_come_in_the_order_of_the_data(
    anywhere: Any, chunksize: int
) -> None:
    task = AllByInitial()
    task.chunksize = chunksize
    found = task((word for word in WORDS), space=anywhere, reduce_tasks=7)
    assert list(found.items()) == list(expected().items())


def test_with_a_combiner_they_do_so_too(anywhere: Any) -> None:
    class Combined(AllByInitial):
        def combiner(self, word: str, ones: list[int]) -> Any:
            yield word, sum(ones)

    found = Combined()(WORDS, space=anywhere, reduce_tasks=7, map_tasks=5)
    assert list(found.items()) == list(expected().items())


def test_the_pairs_of_one_item_keep_their_order(anywhere: Any) -> None:
    class OfLines(AllByInitial):
        def mapper(self, line: str) -> Any:
            for word in line.split():
                yield word, 1

    lines = [" ".join(WORDS[at : at + 20]) for at in range(0, 60, 20)]
    found = OfLines()(lines, space=anywhere, reduce_tasks=7)
    assert list(found.items()) == list(expected().items())


def test_equal_ones_of_sorted_values_keep_the_order_of_the_data(anywhere: Any) -> None:
    class Reverse(ByInitial):
        sort_map_reverse = sort_reduce_reverse = True

        def mapper(self, numbered: tuple[int, str]) -> Any:
            yield numbered[1], numbered[0] % 2, numbered[0]

        def reducer(self, word: str, numbers: Any) -> Any:
            yield word[0], len(word), (word, list(numbers))

    data = list(enumerate(WORDS))
    plain: dict[str, list[tuple[str, list[int]]]] = {}
    for word in dict.fromkeys(WORDS):
        numbers = [number for number, other in data if other == word]
        numbers.sort(key=lambda number: number % 2, reverse=True)
        plain.setdefault(word[0], []).append((word, numbers))
    for words in plain.values():
        words.sort(key=lambda pair: len(pair[0]), reverse=True)
    for on_disk in (False, True) if anywhere else (False,):
        task = Reverse()
        task.on_disk = on_disk
        task.output = dict  # type: ignore[method-assign]
        assert task(data, space=anywhere, reduce_tasks=7) == plain


def test_from_disk_the_first_of_several_is_the_same(standing_cluster: Any) -> None:
    class OnDisk(ByInitial):
        on_disk = True

        def output(self, pairs: Any) -> Any:
            assert isinstance(pairs, Iterator)
            return dict(pairs)

    found = OnDisk()(WORDS, space=standing_cluster.uri, reduce_tasks=7)
    assert found == {key: words[0][0] for key, words in expected().items()}


def test_in_0_1_the_last_key_still_comes_first(anywhere: Any) -> None:
    class Old(MemMapReduce):
        def mapper(self, word: str) -> Any:
            yield word, 1

        def reducer(self, word: str, ones: Any) -> Any:
            yield word[0], word

        def output(self, items: Any) -> Any:
            return list(single_key_output(items))

    firsts = {key: words[0][0] for key, words in expected().items()}
    assert Old()(WORDS, space=anywhere, reduce_tasks=7) == list(popitems(firsts))


def test_many_small_chunks_do_not_make_many_reduce_tasks(
    standing_cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Each map task has something to do for each reduce task, so their product is what takes time.
    class Chunked(AllByInitial):
        chunksize = 2

    jobs: list[Any] = []

    def kept(job: Any, *arguments: Any) -> Any:
        jobs.append(job)
        return run(job, *arguments)

    monkeypatch.setattr(tinytask, "run", kept)
    Chunked()(WORDS * 20, space=standing_cluster.uri)
    assert (jobs[0].reduce_tasks or 600) <= 32


def test_data_that_workers_read_themselves_are_grouped_as_ever(
    standing_cluster: Any, tmp_path: Any
) -> None:
    (tmp_path / "words.txt").write_text("\n".join(WORDS))
    everything = {key: sorted(words) for key, words in expected().items()}
    splits = [Split(WORDS[:40]), Split(WORDS[40:])]
    for data in (TextFiles(tmp_path / "words.txt"), splits):
        found = AllByInitial()(data, space=standing_cluster.uri)
        assert {key: sorted(words) for key, words in found.items()} == everything


def test_a_keys_place_is_its_first_however_values_are_sorted_and_however_many_are_read() -> None:
    first_only = keeping_places(lambda key, values: next(values))
    assert first_only("k", iter([(7, "a"), (3, "b"), (5, "c")])) == (3, "a")
