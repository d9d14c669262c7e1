# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Model directories that are damaged, unsafe, or do not fit together."""

import json
import os
import pickle

import numpy as np
import pytest

from paperclip.exceptions import ModelLoadError, ModelNotFoundError
from paperclip.models import load_encoder, verify
from paperclip.models.verify import check_directory, file_sha256
from paperclip.utils.files import sha256_of

from ..tiny_models import write_weights

WEIGHTS = "open_clip_model.safetensors"
CONFIG = "open_clip_config.json"


def edit_config(path, change):
    config = json.loads((path / CONFIG).read_text())
    change(config)
    (path / CONFIG).write_text(json.dumps(config))


def test_truncated_weights(copy):
    path = copy()
    content = (path / WEIGHTS).read_bytes()
    for keep in (0, 5, 100, len(content) // 2, len(content) - 1):
        (path / WEIGHTS).write_bytes(content[:keep])
        with pytest.raises(ModelLoadError, match="damaged or not a safetensors file"):
            load_encoder(path)


def test_flipped_bytes_in_the_header(copy):
    path = copy()
    content = bytearray((path / WEIGHTS).read_bytes())
    rng = np.random.default_rng(3)
    size = int.from_bytes(content[:8], "little") + 8
    original = load_encoder(path).fingerprint
    for position in rng.integers(0, size, 40):
        damaged = content.copy()
        damaged[position] ^= 1 << int(rng.integers(8))
        (path / WEIGHTS).write_bytes(damaged)
        try:
            encoder = load_encoder(path)
        except ModelLoadError:
            continue
        # blanks at the end of the header, or two tensors of one shape renamed
        assert encoder.fingerprint != original


@pytest.mark.parametrize("content", [pickle.dumps({}), b"PK\x03\x04" + bytes(100)])
def test_pickle_under_the_name_of_safetensors(copy, content):
    path = copy()
    (path / WEIGHTS).write_bytes(content)
    with pytest.raises(ModelLoadError, match="pickle or a zip archive"):
        load_encoder(path)


class Bomb:
    def __reduce__(self):
        return os.mkdir, ("pickle-was-run",)


@pytest.mark.parametrize(
    "name", ["open_clip_pytorch_model.bin", "model.pt", "epoch_9.pth", "a.ckpt"]
)
def test_pickle_is_never_read(copy, name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    path = copy()
    (path / WEIGHTS).unlink()
    (path / name).write_bytes(pickle.dumps(Bomb()))
    message = rf"{name}, a pickle.*convert it: safetensors.torch.save_file"
    with pytest.raises(ModelLoadError, match=message):
        load_encoder(path)
    (path / "model.safetensors").write_bytes(b"open_clip would prefer the pickle")
    with pytest.raises(ModelLoadError, match="a pickle"):
        load_encoder(path)
    assert not (tmp_path / "pickle-was-run").exists()


def test_pickle_beside_safetensors_is_ignored(copy):
    path = copy()
    (path / "open_clip_pytorch_model.bin").write_bytes(pickle.dumps(Bomb()))
    assert load_encoder(path).dimension == 24


def test_missing_weights(copy):
    path = copy()
    (path / WEIGHTS).rename(path / "mine.safetensors")
    with pytest.raises(ModelLoadError, match=r"rename 'mine.safetensors'"):
        load_encoder(path)
    (path / "mine.safetensors").unlink()
    with pytest.raises(ModelLoadError, match=f"holds no {WEIGHTS}$"):
        load_encoder(path)


def test_missing_config(copy):
    path = copy()
    (path / CONFIG).unlink()
    with pytest.raises(ModelLoadError, match=f"holds no {CONFIG}"):
        load_encoder(path)


@pytest.mark.parametrize("content", ["", "{", "[]", '"x"', "\0", "[" * 100_000])
def test_config_that_is_not_json(copy, content):
    path = copy()
    (path / CONFIG).write_text(content)
    with pytest.raises(ModelLoadError, match=r"cannot be read as JSON|JSON object"):
        load_encoder(path)


def test_config_that_is_too_large(copy):
    path = copy()
    (path / CONFIG).write_text(" " * (17 << 20))
    with pytest.raises(ModelLoadError, match="larger than"):
        load_encoder(path)


@pytest.mark.parametrize("key", ["model_cfg", "preprocess_cfg"])
def test_config_without_a_part(copy, key):
    path = copy()
    edit_config(path, lambda config: config.pop(key))
    with pytest.raises(ModelLoadError, match=f"no '{key}'"):
        load_encoder(path)


@pytest.mark.parametrize("key", ["embed_dim", "vision_cfg", "text_cfg"])
def test_model_config_without_a_part(copy, key):
    path = copy()
    edit_config(path, lambda config: config["model_cfg"].pop(key))
    with pytest.raises(ModelLoadError, match=rf"model_cfg\['{key}'\] must be"):
        load_encoder(path)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("mean", None, r"preprocess_cfg\['mean'\] as three"),
        ("mean", [0.5, 0.5], r"preprocess_cfg\['mean'\] as three"),
        ("std", "0.5", r"preprocess_cfg\['std'\] as three"),
        ("std", [0.5, float("nan"), 0.5], r"preprocess_cfg\['std'\] as three"),
        ("std", [0.5, 0.0, 0.5], "std must be positive"),
        ("size", -3, "size must be 1 to 4096"),
        ("size", 10**9, "size must be 1 to 4096"),
        ("interpolation", "lanczos", "interpolation must be one of"),
        ("fill_color", 300, "fill_color must be 0 to 255"),
    ],
)
def test_bad_preprocessing(copy, key, value, message):
    path = copy()
    edit_config(path, lambda config: config["preprocess_cfg"].update({key: value}))
    with pytest.raises(ModelLoadError, match=message):
        load_encoder(path)


@pytest.mark.parametrize(
    ("part", "key", "value"),
    [
        ("vision_cfg", "widht", 32),
        ("vision_cfg", "width", "wide"),
        ("vision_cfg", "width", 64),
        ("vision_cfg", "layers", 2),
        ("vision_cfg", "patch_size", 0),
        ("vision_cfg", "timm_model_name", "no_such_network"),
        ("text_cfg", "heads", 3),
        ("text_cfg", "layers", 1),
        ("text_cfg", "width", 24),
        ("text_cfg", "pool_type", "best"),
    ],
)
def test_typo_in_the_architecture(copy, part, key, value):
    path = copy()
    edit_config(path, lambda config: config["model_cfg"][part].update({key: value}))
    with pytest.raises(ModelLoadError, match="does not make a model"):
        load_encoder(path)


@pytest.mark.parametrize(
    ("part", "key", "value"),
    [
        ("text_cfg", "vocab_size", 10**10),
        ("text_cfg", "width", 10**6),
        ("vision_cfg", "layers", 10**9),
    ],
)
def test_enormous_architecture_is_not_built(copy, part, key, value):
    path = copy()
    edit_config(path, lambda config: config["model_cfg"][part].update({key: value}))
    with pytest.raises(ModelLoadError, match="describes at least"):
        load_encoder(path)


def test_missing_tensor(copy):
    path = copy()
    write_weights(path, lambda tensors: tensors.pop("text.ln_final.bias"))
    with pytest.raises(ModelLoadError, match=r"Missing key.*text\.ln_final\.bias"):
        load_encoder(path)


def test_superfluous_tensor(copy):
    path = copy()
    write_weights(path, lambda t: t.update(extra=t["logit_scale"].clone()))
    with pytest.raises(ModelLoadError, match=r"Unexpected key.*extra"):
        load_encoder(path)


@pytest.mark.parametrize(
    "name", ["visual.proj", "text.transformer.resblocks.0.ln_1.bias"]
)
def test_wrong_shape(copy, name):
    path = copy()
    write_weights(path, lambda t: t.update({name: t[name][:-1].clone()}))
    with pytest.raises(ModelLoadError, match="size mismatch"):
        load_encoder(path)


@pytest.mark.parametrize(
    "name", ["visual.positional_embedding", "text.positional_embedding"]
)
def test_positions_are_not_stretched(copy, name):
    path = copy()
    rows = {"visual.positional_embedding": 10, "text.positional_embedding": 20}[name]
    write_weights(path, lambda t: t.update({name: t[name][:rows].float()}))
    with pytest.raises(ModelLoadError, match=rf"{name} has shape"):
        load_encoder(path)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_not_finite(copy, value):
    path = copy()
    write_weights(path, lambda t: t["visual.proj"][3].fill_(value))
    with pytest.raises(ModelLoadError, match=r"visual\.proj holds NaN or infinite"):
        load_encoder(path)


def test_weights_that_are_all_zero(copy):
    path = copy()
    write_weights(path, lambda tensors: tensors["text.text_projection"].zero_())
    with pytest.raises(ModelLoadError, match="zero or not finite"):
        load_encoder(path).encode_texts(["galaxy"])


def test_checksums(copy):
    path = copy("bert")
    sums = {p.name: sha256_of(p) for p in path.iterdir()}
    (path / "checksums.json").write_text(json.dumps(sums))
    assert load_encoder(path).dimension == 24
    write_weights(path, lambda tensors: tensors["visual.proj"].neg_())
    with pytest.raises(ModelLoadError, match=f"{WEIGHTS} does not match its checksum"):
        load_encoder(path)


@pytest.mark.parametrize(
    ("sums", "message"),
    [
        ({WEIGHTS: "abc"}, "must have 64 hexadecimal digits"),
        ({WEIGHTS: None}, "must have 64 hexadecimal digits"),
        ({"gone.json": "0" * 64}, "lists 'gone.json', which is missing"),
        ({"../secret": "0" * 64}, "must be the name of a file beside it"),
        ({CONFIG: "0" * 64}, f"{CONFIG} does not match its checksum"),
    ],
)
def test_bad_checksums(copy, sums, message):
    path = copy()
    (path / "checksums.json").write_text(json.dumps(sums))
    with pytest.raises(ModelLoadError, match=message):
        load_encoder(path)


def test_large_files_are_hashed_once(copy, cache, monkeypatch):
    monkeypatch.setattr(verify, "_MEMO_FROM", 0)
    file = copy() / WEIGHTS
    digest = file_sha256(file)
    assert digest == sha256_of(file)
    memo = cache / "verified-files.json"
    assert json.loads(memo.read_text())[str(file)][2] == digest
    with monkeypatch.context() as patch:
        patch.setattr(verify, "sha256_of", None)  # it is not called again
        assert file_sha256(file) == digest
    file.write_bytes(file.read_bytes() + b" ")
    assert file_sha256(file) == sha256_of(file) != digest


@pytest.mark.parametrize("content", ["{", "[]", '{"FILE": 3}', '{"FILE": []}'])
def test_damaged_memory_of_checksums(copy, cache, monkeypatch, content):
    monkeypatch.setattr(verify, "_MEMO_FROM", 0)
    file = copy() / WEIGHTS
    cache.mkdir()
    memo = cache / "verified-files.json"
    memo.write_text(content.replace("FILE", str(file)))
    assert file_sha256(file) == sha256_of(file)


def test_tokenizer_missing(copy):
    path = copy("bert")
    (path / "tokenizer.json").unlink()
    with pytest.raises(ModelLoadError, match="holds no tokenizer"):
        load_encoder(path)


def test_tokenizer_damaged(copy):
    path = copy("bert")
    (path / "tokenizer.json").write_text('{"version": "1.0"}')
    with pytest.raises(ModelLoadError, match=r"tokenizer in .* cannot be read"):
        load_encoder(path)


def test_tokenizer_of_another_model(copy):
    # open_clip would take CLIP's tokenizer here without a word
    path = copy("bert")
    edit_config(path, lambda c: c["model_cfg"]["text_cfg"].pop("hf_tokenizer_name"))
    with pytest.raises(ModelLoadError, match="49408 words and the model"):
        load_encoder(path)


@pytest.mark.parametrize(
    "change",
    [
        {"tokenizer_kwargs": {"bpe_path": "/etc/passwd"}},
        {"tokenizer_kwargs": {"reduction_mask": "random"}},
        {"tokenizer_mode": "clips"},
    ],
)
def test_tokenizer_options_that_are_refused(copy, change):
    path = copy()
    edit_config(path, lambda config: config["model_cfg"]["text_cfg"].update(change))
    with pytest.raises(ModelLoadError, match="tokenizer that is not supported"):
        load_encoder(path)


def test_context_that_is_too_short(copy):
    path = copy("bert")
    edit_config(path, lambda c: c["model_cfg"]["text_cfg"].update(context_length=4))
    with pytest.raises(ModelLoadError, match="context_length must be at least 10"):
        load_encoder(path)


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json"])
def test_code_in_the_model_is_refused(copy, name):
    path = copy("bert")
    content = json.loads((path / name).read_text())
    content["auto_map"] = {"AutoModel": "evil.Model", "AutoTokenizer": "evil.Tok"}
    (path / name).write_text(json.dumps(content))
    with pytest.raises(ModelLoadError, match=rf"{name} asks to run code"):
        load_encoder(path)


def test_text_tower_config_missing_or_of_another_kind(copy):
    path = copy("bert")
    (path / "config.json").write_text('{"model_type": "clip"}')
    with pytest.raises(ModelLoadError, match="must describe the text tower"):
        load_encoder(path)
    (path / "config.json").unlink()
    with pytest.raises(ModelLoadError, match=r"holds no config\.json"):
        load_encoder(path)


def test_builtin_missing(monkeypatch, tmp_path):
    from paperclip.models import hub

    monkeypatch.setattr(hub, "__file__", str(tmp_path / "models" / "hub.py"))
    with pytest.raises(ModelNotFoundError, match="built-in model is not at"):
        load_encoder("builtin")


def test_checked_directory_tells_what_it_holds(directories):
    checked = check_directory(directories["native"])
    assert checked.shapes["text.token_embedding.weight"] == (49408, 16)
    assert checked.digests[WEIGHTS] == sha256_of(checked.weights)
