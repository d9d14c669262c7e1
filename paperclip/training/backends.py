# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""
Language models on this machine or behind a server, with guided generation.

The constraint is made by outlines [1]_; whether a model kept to it is checked
by the caller, because servers have been seen to ignore it.

References
----------
.. [1] Willard, B. T. & Louf, R. 2023, "Efficient Guided Generation for Large
   Language Models", arXiv:2307.09702
"""

from abc import ABC, abstractmethod
from pathlib import Path

from paperclip.exceptions import InvalidQueryError, MissingDependencyError
from paperclip.utils.optional import import_optional

__all__ = ["Backend", "load_backend"]

KINDS = ("openai", "transformers", "llamacpp")


class Backend(ABC):
    """
    A language model that answers prompts under a JSON schema.

    Subclass it to use a model that `load_backend` does not know.

    Parameters
    ----------
    name : str
        What it is, for the provenance; it must not hold a secret.
    model : str
        Name of the model.
    batch_size : int, optional
        Prompts at a time that suit it.
    reserved : sequence of str, optional
        Tokens that have a meaning in its prompts; texts are kept from
        holding them.
    """

    def __init__(self, name, model, *, batch_size=8, reserved=()):
        self.name = name
        self.model = model
        self.batch_size = batch_size
        self.reserved = tuple(reserved)

    def __repr__(self):
        return f"<{type(self).__name__} {self.name!r}>"

    def __enter__(self):
        return self

    def __exit__(self, *details):
        self.close()

    @abstractmethod
    def generate(self, prompts, schema, *, max_tokens, temperature, seed):
        """
        Answer prompts.

        Parameters
        ----------
        prompts : sequence of str
            One message of a user each.
        schema : dict
            JSON schema of the answers.
        max_tokens : int
            Most tokens of an answer.
        temperature : float
            Zero takes the most probable token each time.
        seed : int
            Of what is drawn at random.

        Returns
        -------
        answers : list of str or Exception
            In the order of the prompts: what the model wrote, not checked; a
            `~paperclip.exceptions.RemoteServiceError` where a server did not answer;
            a `ValueError` where this prompt cannot be answered at all.

        Raises
        ------
        RemoteServiceError
            If asking again is pointless, such as with a wrong key.
        """

    def close(self):  # noqa: B027 - most have nothing to let go of
        """Let go of connections and memory."""


def load_backend(backend, *, timeout=None, offline=None):
    """
    Return a language model by its name.

    Parameters
    ----------
    backend : str, `Backend` or a model of outlines
        One of

        - ``"openai:http://host:8000/v1#model"``: a server that speaks the chat
          protocol of OpenAI (vLLM, llama-server, Ollama, ...). Without an
          address, ``"openai:#model"``, that of OpenAI; without a model the
          only one that the server has. The key is read from the environment
          variable ``OPENAI_API_KEY``.
        - ``"transformers:name"``: a directory, a file ending in ``.gguf``, or
          a model of the Hugging Face Hub (``org/name[@revision]``). Weights
          must be safetensors or GGUF; code of the repository is never run.
        - ``"llamacpp:file.gguf"``: a file for llama.cpp.
        - what ``outlines.from_transformers``, ``from_llamacpp``,
          ``from_openai``, ``from_vllm`` or ``from_sglang`` returned.
    timeout : float, optional
        Seconds to wait for a server, ``paperclip.conf.timeout`` when not
        given.
    offline : bool, optional
        Whether only this machine may be asked; ``paperclip.conf.offline`` and
        ``HF_HUB_OFFLINE`` decide when not given.

    Returns
    -------
    backend : `Backend`
        Ready to generate.

    Raises
    ------
    InvalidQueryError
        If the name cannot be understood.
    MissingDependencyError
        If a library is missing; the message names it.
    ModelNotFoundError, ModelLoadError
        If there is no such model, or it cannot be loaded.
    OfflineError
        If it is elsewhere and downloads are switched off.
    RemoteServiceError
        If the server does not say which model it has.
    """
    if isinstance(backend, Backend):
        return backend
    if isinstance(backend, str):
        return _from_name(backend, timeout=timeout, offline=offline)
    if type(backend).__module__.split(".")[0] == "outlines":
        return _from_outlines(backend, timeout)
    msg = (
        "backend must be a str such as 'openai:http://localhost:8000/v1#model', a "
        f"Backend or a model of outlines, got {type(backend).__name__}"
    )
    raise InvalidQueryError(msg)


def _from_name(name, *, timeout, offline):
    kind, colon, place = name.partition(":")
    kind = kind.strip().lower()
    if not colon or kind not in KINDS or not place.strip():
        msg = (
            f"backend must be 'openai:ADDRESS#MODEL', 'transformers:DIRECTORY_OR_NAME' "
            f"or 'llamacpp:FILE.gguf', got {name!r}"
        )
        raise InvalidQueryError(msg)
    need_outlines()
    place = place.strip()
    if kind == "openai":
        from paperclip.training._chatserver import ChatServer

        return ChatServer.connect(place, timeout=timeout, offline=offline)
    from paperclip.training import _localmodels as local

    if kind == "transformers":
        return local.load_transformers(place, offline=offline)
    return local.load_llamacpp(place)


def _from_outlines(model, timeout):
    """Wrap a model that the caller made with outlines."""
    from outlines import models

    from paperclip.training import _localmodels as local

    kind = type(model).__name__
    if isinstance(model, models.Transformers):
        label = str(getattr(model.model.config, "_name_or_path", "") or kind)
        return local.TransformersModel(model, f"transformers:{label}")
    if isinstance(model, models.LlamaCpp):
        label = Path(str(getattr(model.model, "model_path", "") or kind)).name
        return local.LlamaCppModel(model, f"llamacpp:{label}")
    client = getattr(model, "client", None)
    if isinstance(model, models.OpenAI | models.VLLM | models.SGLang):
        from paperclip.training._chatserver import ChatServer

        return ChatServer(client, model.model_name, timeout=timeout)
    msg = (
        f"backend is an outlines model of the kind {kind}, which is not known here; "
        "take from_transformers, from_llamacpp or from_openai, or subclass Backend"
    )
    raise InvalidQueryError(msg)


def need_outlines():
    """
    Check that guided generation is installed.

    Raises
    ------
    MissingDependencyError
        If outlines is missing; it has no build for Python 3.14 yet.
    """
    import sys

    try:
        import_optional("outlines", extra="summarize", purpose="guided generation")
    except MissingDependencyError as exc:
        if sys.version_info < (3, 14):
            raise
        msg = f"{exc}; outlines needs Python 3.13 or older"
        raise MissingDependencyError(msg, name="outlines") from exc
