# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""From a name to an encoder: resolve, check, build."""

import hashlib
import json
import logging
import os
from contextlib import contextmanager

from paperclip.exceptions import InvalidQueryError, ModelLoadError
from paperclip.models.encoder import Encoder
from paperclip.models.heads import HEADS_NAME, heads_of, plain_directory, read_heads
from paperclip.models.hub import resolve
from paperclip.models.preprocess import Preprocessing
from paperclip.models.stages import register_towers
from paperclip.models.text import TEXT_VERSION, TextReader
from paperclip.models.towers import choose_device, choose_precision
from paperclip.models.verify import check_directory, file_sha256, read_json

__all__ = ["build_model", "build_reader", "load_encoder"]

_NEEDED = ("encode_images", "encode_texts", "fingerprint")

# what building a model from a wrong configuration has been seen to raise
_BUILD_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)


def load_encoder(model, *, device=None, offline=None, precision="auto"):
    """
    Load a CLIP model.

    Parameters
    ----------
    model : str, path-like or encoder
        "builtin"; "org/name[@revision]" on the Hugging Face Hub, with or
        without "hf-hub:" in front; or a model directory. A directory that
        exists wins over a Hub model of the same name. An object that has
        ``encode_images``, ``encode_texts`` and ``fingerprint`` is returned as
        it is.
    device : str, optional
        "auto" (CUDA when there is one), "cpu", "cuda", "cuda:1" or "mps". The
        default is ``paperclip.conf.device``.
    offline : bool, optional
        When True no socket is opened. The default is
        ``paperclip.conf.offline``, or the environment's ``HF_HUB_OFFLINE``.
    precision : {'auto', 'float32', 'bfloat16'}, optional
        Number format of the image tower. "auto" takes bfloat16 where the
        processor calculates in it; vectors then agree with float32 to a
        cosine of 0.99 to 0.9999, depending on the model. Texts are always
        encoded in float32.

    Returns
    -------
    encoder : Encoder
        Ready to use.

    Raises
    ------
    ModelNotFoundError
        If there is no such model.
    ModelLoadError
        If its files are incomplete, damaged, pickles, or do not fit.
    OfflineError
        If it would have to be downloaded and may not.
    RemoteServiceError
        If the Hub fails or refuses access.
    InvalidQueryError
        If ``model``, ``device`` or ``precision`` can never be right.
    """
    if not isinstance(model, str | os.PathLike):
        missing = [name for name in _NEEDED if not hasattr(model, name)]
        if missing:
            msg = (
                "model must be a name, a directory or an encoder, got "
                f"{type(model).__name__} without {', '.join(missing)}"
            )
            raise InvalidQueryError(msg)
        return model
    resolved = resolve(model, offline=offline)
    checked = check_directory(resolved.directory)
    device = choose_device(device)
    dtype = choose_precision(precision, device)
    clip = build_model(checked)
    preprocessing = Preprocessing.from_config(
        checked.config["preprocess_cfg"], size=clip.visual.image_size
    )
    return Encoder(
        clip.to(device),
        build_reader(checked, clip),
        preprocessing,
        name=resolved.name,
        revision=resolved.revision,
        fingerprint=_fingerprint(resolved, checked, preprocessing),
        device=device,
        dtype=dtype,
    )


def _fingerprint(resolved, checked, preprocessing):
    """Name everything that decides which vector an input gets, but not places."""
    model = json.loads(json.dumps(checked.config["model_cfg"]))
    for key in ("hf_model_name", "hf_tokenizer_name"):
        if model["text_cfg"].get(key):
            model["text_cfg"][key] = True
    files = [*checked.digests.values()]
    if heads_of(checked.config):
        files.append(file_sha256(checked.directory / HEADS_NAME))
    content = {
        "files": sorted(files),
        "model": model,
        "preprocessing": preprocessing.as_dict(),
        "text": TEXT_VERSION,
    }
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    kind = "builtin" if resolved.kind == "builtin" else "model"
    return f"{kind}-{digest[:12]}"


def build_model(checked):
    """
    Build a model in float32 on the CPU and read its weights.

    Parameters
    ----------
    checked : paperclip.models.verify.CheckedModel
        A directory that passed the checks.

    Returns
    -------
    model : `torch.nn.Module`
        open_clip's model, in evaluation mode, without gradients; with the
        heads of ``paperclip.models.heads`` if the directory has them.

    Raises
    ------
    ModelLoadError
        If the architecture is unknown, or a tensor is missing, superfluous,
        of another shape, or not finite.

    Notes
    -----
    `open_clip.create_model` with ``local-dir:`` and ``require_pretrained``:
    any other way can end in random weights or in foreign preprocessing. The
    random numbers it would start from are skipped: all of them are replaced,
    they take as long as reading the file, and they would advance the random
    state of the caller.
    """
    with plain_directory(checked) as plain:
        return read_heads(_build_plain(plain), checked)


def _build_plain(checked):
    """Build what open_clip itself can describe."""
    import open_clip

    register_towers()
    options = {}
    text = checked.config["model_cfg"]["text_cfg"]
    if text.get("hf_model_name"):
        # open_clip asks for this name even when all weights are at hand; the
        # copy of its config.json in the directory keeps the network out
        _check_hugging_config(checked)
        options["text_cfg"] = {
            **text,
            "hf_model_name": str(checked.directory),
            "hf_model_pretrained": False,
        }
    try:
        with _root_logger_untouched(), _no_random_start():
            model = open_clip.create_model(
                f"local-dir:{checked.directory}",
                require_pretrained=True,
                pretrained_text=False,
                **options,
            )
    except _BUILD_ERRORS as exc:
        msg = (
            f"{checked.directory} does not make a model: {checked.weights.name} and "
            f"the architecture {json.dumps(checked.config['model_cfg'])[:300]} do not "
            f"fit each other, or open_clip {open_clip.__version__} does not know it "
            f"({type(exc).__name__}: {str(exc)[:600]})"
        )
        raise ModelLoadError(msg) from exc
    _check_tensors(model, checked)
    return model.eval().requires_grad_(False)


def build_reader(checked, model):
    """
    Build the tokenizer of a checked directory.

    Parameters
    ----------
    checked : paperclip.models.verify.CheckedModel
        A directory that passed the checks.
    model : `torch.nn.Module`
        The model that will read the tokens.

    Returns
    -------
    reader : paperclip.models.text.TextReader
        The tokenizer.

    Raises
    ------
    ModelLoadError
        If it cannot be read or does not belong to the model.
    """
    import open_clip

    text = checked.config["model_cfg"]["text_cfg"]
    tokenizer = None
    if text.get("hf_tokenizer_name") or text.get("tokenizer_kwargs"):
        try:
            with _root_logger_untouched():
                tokenizer = open_clip.get_tokenizer(f"local-dir:{checked.directory}")
        except _BUILD_ERRORS as exc:
            msg = f"the tokenizer in {checked.directory} cannot be read: {exc}"
            raise ModelLoadError(msg) from exc
    return TextReader(
        tokenizer,
        context_length=text.get("context_length", 77),
        vocabulary=model.vocab_size,
    )


def _check_hugging_config(checked):
    from open_clip.hf_configs import arch_dict

    path = checked.directory / "config.json"
    kind = read_json(path).get("model_type")
    if kind not in arch_dict:
        msg = (
            f"{path} must describe the text tower (model_type one of "
            f"{sorted(arch_dict)}), got {kind!r}"
        )
        raise ModelLoadError(msg)


def _check_tensors(model, checked):
    """Refuse positions that open_clip stretched, and values that are not finite."""
    import torch

    for name, tensor in model.state_dict().items():
        shape = checked.shapes.get(name, checked.shapes.get(name.removeprefix("text.")))
        squeezed = tuple(n for n in tensor.shape if n != 1)
        if shape is not None and squeezed != tuple(n for n in shape if n != 1):
            msg = (
                f"{checked.weights}: {name} has shape {shape} and the architecture "
                f"needs {tuple(tensor.shape)}"
            )
            raise ModelLoadError(msg)
        # a sum shows any NaN or infinity at a tenth of the cost of isfinite; it may
        # itself overflow, so only then every value is looked at
        if (
            tensor.is_floating_point()
            and not torch.isfinite(tensor.sum())
            and not torch.isfinite(tensor).all()
        ):
            msg = f"{checked.weights}: {name} holds NaN or infinite values"
            raise ModelLoadError(msg)


@contextmanager
def _root_logger_untouched():
    """
    Keep open_clip from setting up logging for the whole process.

    It calls ``logging.info``, and that function adds a handler to a root
    logger that has none.
    """
    root = logging.getLogger()
    handler = logging.NullHandler()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)


def _no_random_start():
    """Return a context in which initialisation leaves tensors as they are."""
    import torch
    from torch.nn import init
    from torch.overrides import TorchFunctionMode

    skipped = {
        torch.Tensor.normal_,
        torch.Tensor.uniform_,
        *(
            getattr(init, f"{name}_")
            for name in (
                "kaiming_normal",
                "kaiming_uniform",
                "normal",
                "orthogonal",
                "trunc_normal",
                "uniform",
                "xavier_normal",
                "xavier_uniform",
            )
        ),
    }

    class NoRandomStart(TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            if func in skipped:
                return args[0] if args else kwargs["tensor"]
            if func in {torch.rand, torch.randn}:
                func = torch.empty
            return func(*args, **(kwargs or {}))

    return NoRandomStart()
