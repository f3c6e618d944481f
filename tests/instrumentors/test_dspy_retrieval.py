"""DSPy's retrievers and embedding models."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import dspy
import pytest
from dspy.dsp.utils.utils import dotdict
from dspy.utils.unbatchify import Unbatchify
from dspy_programs import counts, drawn, instrumented

PASSAGES = ("the first passage", "another one", "and a third")
HOSTED = ("lm", "embeddings", "openai", "small")


def retrieve_first(query, k, **options):
    """Stand in for a retrieval model."""
    return [dotdict(long_text=passage) for passage in PASSAGES[:k]]


@pytest.fixture(autouse=True)
def arrays(monkeypatch):
    """Let DSPy keep vectors in lists: all that it does with numpy here is to make arrays of them."""
    numpy = SimpleNamespace(array=lambda vectors, dtype: list(vectors), float32=float)
    monkeypatch.setattr("dspy.clients.embedding.np", numpy)


@pytest.fixture
def measured(fresh):
    with instrumented():
        yield fresh


@pytest.fixture
def provider(monkeypatch, tmp_path):
    """Stand in for who hosts embeddings, and give DSPy a cache of the test's own."""
    from dspy.clients import embedding
    from dspy.clients.cache import Cache

    asked = []

    def answer(model, input, **options):  # noqa: A002 - the provider's word
        asked.append(input)
        usage = SimpleNamespace(prompt_tokens=3 * len(input))
        return SimpleNamespace(data=[{"embedding": [1.0, 2.0]} for _ in input], usage=usage)

    async def answer_async(**options):
        return answer(**options)

    client = SimpleNamespace(cache=None, embedding=answer, aembedding=answer_async)
    monkeypatch.setattr(embedding, "_get_litellm", lambda: client)
    cache = Cache(
        enable_disk_cache=False,
        enable_memory_cache=True,
        disk_cache_dir=str(tmp_path),
        disk_size_limit_bytes=None,
        memory_max_entries=100,
    )
    monkeypatch.setattr(dspy, "cache", cache)
    return asked


def embed(embedder, is_async, texts):
    return asyncio.run(embedder.acall(texts)) if is_async else embedder(texts)


@pytest.mark.parametrize("is_async", [False, True])
def test_hosted_embeddings_are_one_call_with_the_tokens_of_all_their_batches(provider, fresh, is_async):
    with instrumented():
        vectors = embed(dspy.Embedder("openai/small", batch_size=2, caching=False), is_async, ["a", "b", "c"])

    assert vectors == [[1.0, 2.0]] * 3
    assert provider == [["a", "b"], ["c"]]
    assert counts(fresh) == {HOSTED: 1}
    assert fresh.value("agent_tokens_total", gen_ai_request_model="small", gen_ai_token_type="input") == 9
    assert fresh.value("agent_lm_cache_hits_total", gen_ai_request_model="small") is None


@pytest.mark.parametrize("is_async", [False, True])
def test_embeddings_from_the_cache_spend_nothing(provider, fresh, is_async):
    with instrumented():
        embedder = dspy.Embedder("openai/small")
        for _ in range(3):
            embed(embedder, is_async, ["a", "b"])

    assert len(provider) == 1
    assert counts(fresh) == {HOSTED: 3}
    assert fresh.value("agent_tokens_total", gen_ai_request_model="small", gen_ai_token_type="input") == 6
    assert fresh.value("agent_lm_cache_hits_total", gen_ai_request_model="small") == 2


def test_embeddings_that_fail_bear_the_type_of_their_error_and_are_no_cache_hit(measured):
    def fail(texts):
        raise MemoryError("too many")

    with pytest.raises(MemoryError):
        dspy.Embedder(fail, caching=False)("a")
    with pytest.raises(ValueError, match="All inputs must be strings"):
        dspy.Embedder(fail)([1])

    assert counts(measured) == {("lm", "embeddings", "MemoryError"): 1, ("lm", "embeddings", "ValueError"): 1}
    assert measured.value("agent_lm_cache_hits_total") is None


def test_a_retriever_is_a_tool_also_where_one_asks_another(measured, spans):
    class Own(dspy.Retrieve):
        def forward(self, query, k=None):
            return dspy.Retrieve(k=1)(query)

    with dspy.context(rm=retrieve_first):
        assert dspy.Retrieve(k=2)("first").passages[0] == PASSAGES[0]
        Own()("first")

    assert counts(measured) == {("tool", "retrieve"): 2}
    assert drawn(spans) == ["execute_tool retrieve", "execute_tool retrieve"]


def test_a_retriever_that_fails_bears_the_type_of_its_error(measured):
    with pytest.raises(AssertionError, match="No RM is loaded"), dspy.context(rm=None):
        dspy.Retrieve()("first")

    assert counts(measured) == {("tool", "retrieve", "AssertionError"): 1}


def test_a_retriever_inside_a_tool_is_a_task_of_it_so_that_one_call_is_not_two(measured, spans):
    def search(query: str) -> list[str]:
        """Search."""
        return dspy.Retrieve(k=1)(query).passages

    with dspy.context(rm=retrieve_first):
        dspy.Tool(search)(query="first")

    assert counts(measured) == {("tool", "search"): 1, ("task", "retrieve", "success"): 1}
    assert drawn(spans) == ["execute_tool search", "  execute_task retrieve"]


class Neighbours(dspy.Embeddings):
    """DSPy's own, but for the arithmetic: the first passage is always the nearest."""

    def __init__(self, embedder):
        self.embedder = embedder
        self.search_fn = Unbatchify(self._batch_forward)

    def _batch_forward(self, queries):
        self.embedder(queries)
        return [(PASSAGES[:1], [0], [1.0]) for _ in queries]


def test_an_embedder_that_a_retriever_asks_in_a_thread_of_its_own_is_under_it(fresh, spans):
    retriever = Neighbours(dspy.Embedder(lambda texts: [[1.0] for _ in texts], caching=False))

    class Program(dspy.Module):
        def forward(self, query):
            return retriever(query)

    try:
        with instrumented():
            assert Program()(query="first").passages == PASSAGES[:1]
    finally:
        retriever.search_fn.close()

    assert drawn(spans) == ["invoke_workflow Program", "  execute_tool retrieve", "    embeddings"]
    assert counts(fresh) == {("workflow", "Program"): 1, ("tool", "retrieve"): 1, ("lm", "embeddings"): 1}


def test_nearest_neighbours_are_a_task_that_asks_an_embedder(measured, monkeypatch):
    class Vectors(list):
        T = None
        astype = squeeze = lambda self, *_: self

        def argsort(self):
            return self

    monkeypatch.setattr("dspy.clients.embedding.np.array", lambda vectors, dtype: Vectors(vectors))
    monkeypatch.setattr("dspy.predict.knn.np", SimpleNamespace(dot=lambda *_: Vectors([0]), float32=float))
    trainset = [dspy.Example(question=text).with_inputs("question") for text in PASSAGES]
    nearest = dspy.KNN(1, trainset, vectorizer=dspy.Embedder(lambda texts: [[1.0] for _ in texts], caching=False))

    assert nearest(question="first") == trainset[:1]
    assert counts(measured) == {("task", "KNN", "success"): 1, ("lm", "embeddings"): 2}
