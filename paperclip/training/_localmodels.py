# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Language models on this machine: transformers and llama.cpp."""

import contextlib
import json
import warnings
from collections import OrderedDict
from pathlib import Path

from paperclip.exceptions import (
    MissingDependencyError,
    ModelLoadError,
    ModelNotFoundError,
    OfflineError,
)
from paperclip.training._answers import AnswerError, clean_words
from paperclip.training.backends import Backend
from paperclip.utils.offline import is_offline
from paperclip.utils.optional import import_optional

__all__ = ["LlamaCppModel", "TransformersModel", "load_llamacpp", "load_transformers"]

_CONTEXT = 8192  # tokens that llama.cpp makes room for
_KEPT = 32  # constraints that stay compiled
_LEAST = 32  # tokens without which an answer is not worth starting


class _Compiled:
    """The constraints that were compiled last."""

    def __init__(self, model, backend=None):
        self._model = model
        self._backend = backend
        self._kept = OrderedDict()

    def get(self, schema):
        """Return the generator of a JSON schema."""
        import outlines

        key = json.dumps(_patterns_alone(schema))
        if key not in self._kept:
            kind = outlines.types.JsonSchema(key)
            self._kept[key] = outlines.Generator(self._model, kind, self._backend)
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return self._kept[key]


def _patterns_alone(value):
    """Return a schema whose patterns count: outlines prefers bounds of length."""
    if isinstance(value, list):
        return [_patterns_alone(item) for item in value]
    if not isinstance(value, dict):
        return value
    dropped = {"minLength", "maxLength"} if "pattern" in value else set()
    return {k: _patterns_alone(v) for k, v in value.items() if k not in dropped}


class TransformersModel(Backend):
    """
    A model that transformers runs.

    Parameters
    ----------
    model : `outlines.models.Transformers`
        Model and tokenizer.
    name : str
        What it is, for the provenance.
    """

    def __init__(self, model, name):
        tokenizer = model.hf_tokenizer
        label = name.partition(":")[2].rstrip("/")
        label = Path(label).name if Path(label).exists() else label
        super().__init__(
            name, label, batch_size=4, reserved=tokenizer.all_special_tokens
        )
        self._model = model
        self._compiled = _Compiled(model)
        config = model.model.config
        config = getattr(config, "text_config", None) or config
        self._context = getattr(config, "max_position_embeddings", None)

    def generate(self, prompts, schema, *, max_tokens, temperature, seed):
        """
        Answer prompts in one batch.

        Arguments and answers are those of `Backend.generate`.
        """
        import torch

        answers = [self._too_long(prompt) for prompt in prompts]
        fitting = [i for i, error in enumerate(answers) if error is None]
        if not fitting:
            return answers
        asked = [prompts[i] for i in fitting]
        room = max(self._tokens(prompt) for prompt in asked)
        if self._context:
            max_tokens = min(max_tokens, self._context - room)
        options = {"max_new_tokens": max_tokens, "do_sample": temperature > 0}
        if temperature > 0:
            options["temperature"] = temperature
        # the masks of outlines are compiled anew for each batch otherwise, which
        # takes a minute where a token takes milliseconds
        eager = torch.compiler.set_stance("force_eager")
        with eager, _own_random_state(self._model.model.device, seed):
            said = self._compiled.get(schema).batch(asked, **options)
        for i, text in zip(fitting, said, strict=True):
            answers[i] = text
        return answers

    def _tokens(self, prompt):
        text = self._model.type_adapter.format_input(prompt)
        return len(self._model.hf_tokenizer(text)["input_ids"])

    def _too_long(self, prompt):
        if not self._context:
            return None
        tokens = self._tokens(prompt)
        if tokens + _LEAST <= self._context:
            return None
        return AnswerError(
            f"the prompt has {tokens} tokens; the model reads {self._context}, "
            "answer included"
        )


@contextlib.contextmanager
def _own_random_state(device, seed):
    """Draw from a seed, and leave the state of the process as it was."""
    import torch

    cuda = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda):
        torch.set_rng_state(torch.Generator().manual_seed(seed).get_state())
        if cuda:
            state = torch.Generator(device).manual_seed(seed).get_state()
            torch.cuda.set_rng_state(state, device)
        yield


class LlamaCppModel(Backend):
    """
    A model that llama.cpp runs.

    Parameters
    ----------
    model : `outlines.models.LlamaCpp`
        The model.
    name : str
        What it is, for the provenance.
    """

    def __init__(self, model, name):
        super().__init__(name, name.partition(":")[2], batch_size=1)
        self._model = model
        # the default of outlines runs without any constraint, and says nothing,
        # if numba is missing
        import_optional("llguidance", extra="llamacpp", purpose="llama.cpp")
        self._compiled = _Compiled(model, "llguidance")

    def close(self):
        """Free the memory of the model."""
        self._model.model.close()

    def generate(self, prompts, schema, *, max_tokens, temperature, seed):
        """
        Answer prompts one after the other.

        Arguments and answers are those of `Backend.generate`.
        """
        options = {"max_tokens": max_tokens, "temperature": temperature, "seed": seed}
        answers = []
        with warnings.catch_warnings():
            # llguidance calls old names of llama.cpp, once for each of its tokens
            warnings.simplefilter("ignore", DeprecationWarning)
            generator = self._compiled.get(schema)
            for prompt in prompts:
                try:
                    text = generator(prompt, **options)
                except ValueError as exc:  # the prompt does not fit
                    text = AnswerError(clean_words(str(exc))[:300])
                answers.append(text)
        return answers


def load_transformers(place, *, offline=None):
    """
    Load a model with transformers.

    Parameters
    ----------
    place : str
        Directory, ``.gguf`` file, or name on the Hub.
    offline : bool, optional
        Whether nothing may be downloaded.

    Returns
    -------
    backend : TransformersModel
        On the CUDA device if there is one.

    Raises
    ------
    ModelNotFoundError, ModelLoadError, OfflineError, MissingDependencyError
        If it cannot be loaded.
    """
    import outlines
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    path = Path(place).expanduser()
    offline = is_offline(offline)
    common = {"local_files_only": offline or path.exists(), "trust_remote_code": False}
    weights = {"dtype": "auto", "use_safetensors": True}
    if path.suffix.lower() == ".gguf":
        _need_file(path)
        import_optional("gguf", extra="summarize", purpose="reading a GGUF file")
        source, common["gguf_file"] = str(path.parent), path.name
        weights = {"dtype": torch.bfloat16}  # they were rounded to 8 bits or less
    elif path.is_dir():
        source = str(path)
    else:
        source, _, revision = place.partition("@")
        if revision:
            common["revision"] = revision
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, **common)
        model = AutoModelForCausalLM.from_pretrained(source, **common, **weights)
    except (OSError, ValueError, KeyError, RuntimeError, ImportError) as exc:
        raise _load_error(place, path, offline, exc) from exc
    if torch.cuda.is_available():
        model = model.to("cuda")
    wrapped = outlines.from_transformers(model.eval(), tokenizer)
    return TransformersModel(wrapped, f"transformers:{place}")


def _load_error(place, path, offline, exc):
    """Return the error that says why transformers could not load a model."""
    reason = clean_words((str(exc).strip().splitlines() or [type(exc).__name__])[0])
    if isinstance(exc, ImportError):
        return MissingDependencyError(f"{place}: {reason[:300]}")
    if path.exists():
        return ModelLoadError(
            f"{place!r} cannot be loaded as a language model: {reason[:300]}"
        )
    if offline:
        return OfflineError(
            f"the language model {place!r} is not on this machine, and downloads are "
            f"switched off; fetch it once with a network: hf download {place}"
        )
    return ModelNotFoundError(
        f"there is no directory {place!r}, and the Hugging Face Hub has no usable "
        f"language model of this name: {reason[:300]}"
    )


def load_llamacpp(place):
    """
    Load a GGUF file with llama.cpp.

    Parameters
    ----------
    place : str
        The file.

    Returns
    -------
    backend : LlamaCppModel
        With room for 8192 tokens at most.

    Raises
    ------
    ModelNotFoundError, ModelLoadError, MissingDependencyError
        If it cannot be loaded.
    """
    path = Path(place).expanduser()
    _need_file(path)
    purpose = "a 'llamacpp:' backend"
    llama_cpp = import_optional("llama_cpp", extra="llamacpp", purpose=purpose)
    import_optional("llguidance", extra="llamacpp", purpose=purpose)
    import outlines

    try:
        model = llama_cpp.Llama(str(path), n_ctx=_CONTEXT, verbose=False)
    except (OSError, ValueError, RuntimeError) as exc:
        msg = f"{place!r} cannot be loaded by llama.cpp: {clean_words(str(exc))[:300]}"
        raise ModelLoadError(msg) from exc
    return LlamaCppModel(outlines.from_llamacpp(model), f"llamacpp:{path.name}")


def _need_file(path):
    if not path.is_file():
        msg = f"there is no file {str(path)!r}"
        raise ModelNotFoundError(msg)
