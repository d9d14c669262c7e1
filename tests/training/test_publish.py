# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Models that are saved and published, with the real client of the Hub."""

import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
from astropy.table import Table

from paperclip import conf
from paperclip.exceptions import (
    InvalidQueryError,
    ModelLoadError,
    ModelNotFoundError,
    OfflineError,
    PaperclipWarning,
    RemoteServiceError,
)
from paperclip.models import load_encoder
from paperclip.models.verify import check_directory
from paperclip.training import (
    PairList,
    TrainingConfig,
    evaluate,
    push_model,
    save_model,
    synthetic_pairs,
)
from paperclip.training._cardtable import figure_table, main_rows
from paperclip.training.card import metric_rows
from paperclip.training.publish import PUBLISHED, compare_encoders
from paperclip.utils.files import sha256_of

from ..hub_server import hub_server
from ..tiny_models import tiny_model_directory, write_weights
from .test_evaluate import ColourEncoder, coloured

WEIGHTS = "open_clip_model.safetensors"
# huggingface_hub sends files in a way that its own client calls old
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
METRICS = {"top10": (0.5, 0.4, 0.6), "recall@1": {"value": 0.25}, "auc": 0.75}


@pytest.fixture(scope="module", name="tiny")
def fixture_tiny(tmp_path_factory):
    root = tmp_path_factory.mktemp("tiny")
    return {
        kind: tiny_model_directory(root / kind, kind=kind, seed=4)
        for kind in ("native", "bert")
    }


@pytest.fixture(name="finished")
def fixture_finished(tiny, tmp_path):
    """Lay out what a finished run leaves."""
    run = tmp_path / "run"
    shutil.copytree(tiny["native"], run / "model")
    (run / "checkpoints").mkdir()
    (run / "checkpoints" / "last.pt").write_bytes(b"\x80\x04pickle")
    changes = {
        "run.output": str(run),
        "run.seed": 7,
        "data.path": ["/home/somebody/secret/mydata"],
        "model.base": "/home/somebody/secret/base",
    }
    TrainingConfig.recipe("default").replace(changes).to_file(run / "config.toml")
    facts = {"data_hash": "a", "pairs": 9, "groups": 3, "validation_pairs": 2}
    facts |= {"validation_groups": 1}
    facts |= {"left_out": {"x": "/home/somebody/x.png"}, "machine": "x86_64"}
    (run / "environment.json").write_text(json.dumps(facts))
    return run


@pytest.fixture(name="saved")
def fixture_saved(finished, tmp_path):
    return save_model(
        finished, tmp_path / "saved", licence="cc-by-4.0", metrics=METRICS, name="Eyes"
    )


@pytest.fixture(name="hub")
def fixture_hub(tmp_path, monkeypatch):
    """A Hub on this machine; failed requests are repeated without waiting."""
    from huggingface_hub import constants
    from huggingface_hub.utils import (
        _http,
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    from paperclip.models import _snapshots as fetching
    from paperclip.training import push

    for module in (push, fetching):
        monkeypatch.setattr(module, "_WAIT", 0.0)
    monkeypatch.setattr(_http.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    before = are_progress_bars_disabled()
    disable_progress_bars()
    with conf.set_temp("cache_dir", str(tmp_path / "cache")), hub_server() as hub:
        yield hub
    if not before:
        enable_progress_bars()


# ---- saving


def test_a_run_becomes_a_model_directory(saved, finished):
    names = {path.name for path in saved.directory.iterdir()}
    wanted = {WEIGHTS, "open_clip_config.json", "README.md", "training.json"}
    assert names == wanted | {"checksums.json"}
    check_directory(saved.directory)
    one, two = load_encoder(finished / "model"), load_encoder(saved.directory)
    assert compare_encoders(one, two) == {
        "max_difference": 0.0,
        "lowest_cosine": pytest.approx(1, abs=1e-6),
    }
    sums = json.loads((saved.directory / "checksums.json").read_text())
    assert sums[WEIGHTS] == sha256_of(saved.directory / WEIGHTS)
    assert "README.md" not in sums


def test_the_manifest_says_how_it_was_made(saved):
    manifest = json.loads((saved.directory / "training.json").read_text())
    assert manifest == saved.manifest
    assert manifest["training"]["seed"] == 7
    rate = TrainingConfig.recipe("default").optim.lr
    assert manifest["training"]["config"]["optim"]["lr"] == rate
    assert re.fullmatch("[0-9a-f]{16}", manifest["training"]["config_hash"])
    assert manifest["training"]["left_out"] == 1
    assert manifest["data"] == {
        "name": "mydata",
        "hash": "a",
        "splits": {
            "train": {"pairs": 9, "groups": 3},
            "validation": {"pairs": 2, "groups": 1},
        },
    }
    assert manifest["packages"]["torch"]
    assert manifest["model"]["fingerprint"] == load_encoder(saved.directory).fingerprint
    assert manifest["metrics"][0] == {
        "name": "top10", "value": 0.5, "low": 0.4, "high": 0.6, "chance": None
    }  # fmt: skip


def test_places_of_this_machine_stay_here(saved, tmp_path):
    for path in saved.directory.glob("*.*"):
        if path.suffix in (".json", ".md"):
            text = path.read_text()
            assert "somebody" not in text
            assert str(tmp_path) not in text
    assert saved.manifest["training"]["config"]["data"]["path"] == ["mydata"]


def test_the_card(saved):
    yaml = pytest.importorskip("yaml")
    _, head, body = (saved.directory / "README.md").read_text().split("---\n", 2)
    head = yaml.safe_load(head)
    assert head["license"] == "cc-by-4.0"
    assert head["library_name"] == "open_clip"
    result = head["model-index"][0]["results"][0]
    assert [row["value"] for row in result["metrics"]] == [0.5, 0.25, 0.75]
    assert body.startswith("\n# Eyes\n")
    assert "| top10 | 0.5 | 0.4 to 0.6 |" in body
    assert "| seed | 7 |" in body
    assert "| validation | 2 | 1 |" in body
    for part in ("How to use it", "Data", "How good it is", "Limits", "Record"):
        assert f"## {part}\n" in body
    assert "open_clip.create_model_from_pretrained" in body


def test_the_hub_reads_the_card(saved):
    from huggingface_hub import ModelCard

    card = ModelCard.load(saved.directory / "README.md")
    assert card.data.license == "cc-by-4.0"
    assert card.data.eval_results[0].metric_value == 0.5


def test_the_examples_of_the_card_run(saved):
    body = (saved.directory / "README.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", body, re.S)
    assert len(blocks) == 2
    for block in blocks:
        code = block.replace("PLACE", str(saved.directory))
        exec(code, {"picture": np.zeros((20, 30, 3), np.uint8)})


@pytest.mark.parametrize("kind", ["native", "bert"])
def test_half_precision_is_measured(tiny, tmp_path, kind):
    import torch

    def widen(tensors):
        generator = torch.Generator().manual_seed(0)
        for name, tensor in tensors.items():
            noise = 1e-4 * torch.randn(tensor.shape, generator=generator)
            tensors[name] = tensor.float() + noise * (tensor.ndim > 1)

    whole = shutil.copytree(tiny[kind], tmp_path / "whole")
    write_weights(whole, widen)
    saved = save_model(whole, tmp_path / "half", licence="mit", half=True)
    found = saved.manifest["model"]["half"]
    assert 0 < found["max_difference"] < 1e-2
    assert 0.999 < found["lowest_cosine"] <= 1.000001
    assert saved.manifest["model"]["precision"] == "F16"
    size = (saved.directory / WEIGHTS).stat().st_size
    assert size < 0.6 * (whole / WEIGHTS).stat().st_size
    assert "halving the precision" in (saved.directory / "README.md").read_text()
    pair = [load_encoder(p, precision="float32") for p in (whole, saved.directory)]
    again = compare_encoders(*pair)
    assert again == pytest.approx(found)
    kept = {p.name for p in saved.directory.iterdir()}
    assert ("tokenizer.json" in kept) is (kind == "bert")


def test_values_too_large_for_half_precision(tiny, tmp_path):
    def enlarge(tensors):
        tensors["visual.proj"] = tensors["visual.proj"].float()
        tensors["visual.proj"][0, 0] = 1e6

    whole = shutil.copytree(tiny["native"], tmp_path / "whole")
    write_weights(whole, enlarge)
    with pytest.raises(ModelLoadError, match="values up to 1e"):
        save_model(whole, tmp_path / "half", licence="mit", half=True)
    assert [p.name for p in tmp_path.iterdir()] == ["whole"]


def test_saving_twice(saved, finished):
    again = {"licence": "mit", "name": "Eyes 2"}
    with pytest.raises(InvalidQueryError, match="holds a saved model"):
        save_model(finished, saved.directory, **again)
    new = save_model(finished, saved.directory, **again, overwrite=True)
    assert new.manifest["licence"] == "mit"
    (saved.directory / "thesis.tex").write_text("mine")
    with pytest.raises(InvalidQueryError, match=r"thesis\.tex"):
        save_model(finished, saved.directory, **again, overwrite=True)
    assert (saved.directory / "thesis.tex").exists()


def test_bad_arguments_of_save(finished, tiny, tmp_path):
    target = tmp_path / "out"
    with pytest.raises(InvalidQueryError, match="licence must be the short name"):
        save_model(finished, target, licence="")
    with pytest.raises(InvalidQueryError, match="source must be a run"):
        save_model(3, target, licence="mit")
    with pytest.raises(InvalidQueryError, match="another one than that of the model"):
        save_model(finished, finished, licence="mit")
    with pytest.raises(InvalidQueryError, match="name must be a title"):
        save_model(finished, target, licence="mit", name=" ")
    with pytest.raises(InvalidQueryError, match=r"metrics\['a'\] must have low"):
        save_model(finished, target, licence="mit", metrics={"a": (1, 3, 2)})
    with pytest.raises(InvalidQueryError, match="data must be a str"):
        save_model(finished, target, licence="mit", data=4)
    with pytest.raises(ModelNotFoundError, match="no model"):
        save_model(str(tmp_path / "nothing"), target, licence="mit")
    with pytest.raises(InvalidQueryError, match="is not empty and holds no saved"):
        save_model(tiny["native"], finished, licence="mit")
    assert not target.exists()


def test_a_run_without_a_model(tmp_path):
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    with pytest.raises(ModelLoadError, match="has no model yet; finish it"):
        save_model(tmp_path / "run", tmp_path / "out", licence="mit")
    with pytest.raises(ModelLoadError, match="neither a run nor a model"):
        save_model(tmp_path, tmp_path / "out", licence="mit")


def test_data_of_pairs_is_counted_and_hashed(tiny, tmp_path):
    pairs = synthetic_pairs(16, seed=3, size=32)
    parts = {"train": pairs[:12], "test": pairs[12:]}
    saved = save_model(tiny["native"], tmp_path / "m", licence="mit", data=parts)
    data = saved.manifest["data"]
    assert data["splits"]["train"] == {"pairs": 12, "groups": 3}
    assert len(data["hash"]) == 16
    assert data["apart"]
    assert "| train | 12 | 3 |" in (saved.directory / "README.md").read_text()
    other = save_model(tiny["native"], tmp_path / "n", licence="mit", data=pairs[1:12])
    assert other.manifest["data"]["hash"] != data["hash"]


def test_metrics_in_all_forms():
    table = Table(
        rows=[("top10", 0.5, 0.4, 0.6)], names=("metric", "value", "low", "high")
    )
    rows = metric_rows(table)
    assert rows == metric_rows({"top10": (0.5, 0.4, 0.6)})
    assert rows == metric_rows({"top10": {"value": 0.5, "low": 0.4, "high": 0.6}})
    assert metric_rows(None) == []
    with pytest.raises(InvalidQueryError, match="must be a finite number"):
        metric_rows({"top10": float("nan")})
    with pytest.raises(InvalidQueryError, match="must be a mapping or a Table"):
        metric_rows([1])
    with pytest.raises(InvalidQueryError, match="columns metric and value"):
        metric_rows(Table({"a": [1]}))


def test_the_card_shows_the_main_figures(tiny, tmp_path):
    """All that an evaluation gives is about a hundred rows."""
    labelled = coloured(label=True)
    pairs = PairList(
        replace(p, texts={**p.texts, "title": p.texts["abstract"]}) for p in labelled
    )
    found = evaluate(ColourEncoder(0.3), pairs, bootstrap=20)
    assert {"tfidf_map_text", "top10_macro", "label_map"} < set(found.metrics["name"])
    saved = save_model(tiny["native"], tmp_path / "m", licence="mit", metrics=found)
    rows = saved.manifest["metrics"]
    assert [row["name"] for row in rows] == found.metrics["name"].tolist()
    assert rows[0]["chance"] == 0.1
    assert {r["name"]: r["chance"] for r in rows}["cosine_right"] is None
    text = (saved.directory / "README.md").read_text()
    part = text.partition("## How good it is")[2].partition("\n## ")[0]
    lines = [line.split(" | ") for line in part.splitlines() if line.startswith("| ")]
    assert lines[0] == ["| figure", "value", "interval (95 %)", "chance", "meaning |"]
    assert [line[0][2:] for line in lines[1:]] == [
        "top10",
        "top10_text",
        "tfidf_top10_text",
        "bm25_top10_text",
        *(f"recall@{k}" for k in (1, 5, 10)),
        *(f"recall@{k}_text" for k in (1, 5, 10)),
        *("median_rank", "median_rank_text", "map", "map_text"),
        *("ndcg@10", "ndcg@10_text", "proposals@5_text", "proposals@10_text", "auc"),
    ]
    value, low, high = (f"{rows[0][name]:.4g}" for name in ("value", "low", "high"))
    assert lines[1][1:4] == [value, f"{low} to {high}", "0.1"]
    assert lines[1][4] == "own text in the best 10 % of all texts, for a picture |"
    assert f"These are 19 of {len(rows)} figures; all of them are in" in part
    assert text.count('"type": "recall@1"') == 1
    assert "top10_macro" not in text


def test_the_card_shows_the_accuracy_of_subsets():
    subsets = ("all", "HST", "JWST")
    names = ("top10", "top10_text", "auc", "map", "loss", "top10_macro")
    rows = [(n, s, 0.5) for s in subsets for n in names]
    rows = metric_rows(Table(rows=rows, names=("name", "subset", "value")))
    assert [row["name"] for row in main_rows(rows)] == [
        *("top10, all", "top10_text, all", "map, all", "auc, all"),
        *("top10, HST", "top10_text, HST", "top10, JWST", "top10_text, JWST"),
    ]


def test_figures_of_ones_own_are_all_shown():
    rows = metric_rows({f"mine {n}": n for n in range(20)})
    assert main_rows(rows) == rows
    few = metric_rows({"loss": 1.0, "top10": 0.5, "top10_macro": 0.4})
    assert main_rows(few) == few
    lines = figure_table(rows)
    assert lines[0] == "| figure | value | interval (95 %) |"
    assert len(lines) == 22


def test_markup_in_names_stays_text(tiny, tmp_path):
    saved = save_model(
        tiny["native"], tmp_path / "m", licence="mit", name='a"b\n---\n# c | d',
        metrics={"x | y\n": 1}, data={"name": "e\n# f"},
    )  # fmt: skip
    text = (saved.directory / "README.md").read_text()
    assert text.count("\n---\n") == 1
    assert '# a"b --- # c / d\n' in text
    assert "\n# f" not in text


# ---- pushing


def test_push_and_pull_back(hub, saved):
    hub.token = "hf_right"
    pushed = push_model(saved, "me/eyes", token="hf_right", endpoint=hub.url)
    assert pushed.difference == 0.0
    assert pushed.revision == hub.branches["me/eyes", "main"]
    assert pushed.url.endswith(f"/me/eyes/commit/{pushed.revision}")
    files = hub.repos["me/eyes"][pushed.revision]
    ours = {p.name: p.read_bytes() for p in saved.directory.iterdir()}
    assert {n: c for n, c in files.items() if n != ".gitattributes"} == ours
    assert set(pushed.files) == set(ours)
    assert hub.private == {"me/eyes"}


def test_what_was_pushed_can_be_loaded_by_name(hub, saved, monkeypatch):
    from huggingface_hub import constants

    push_model(saved, "me/eyes", private=False, endpoint=hub.url)
    assert not hub.private
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE",
        hub.url + "/{repo_id}/resolve/{revision}/{filename}",
    )  # fmt: skip
    assert load_encoder("me/eyes").fingerprint == saved.fingerprint


def test_one_commit_holds_everything(hub, saved):
    push_model(saved, "me/eyes", endpoint=hub.url, check=False)
    assert sum("/commit/" in request for request in hub.requests) == 1
    assert len(hub.repos["me/eyes"]) == 2  # what create makes, and ours


def test_only_listed_files_are_sent(hub, saved, tmp_path):
    (tmp_path / "secret.txt").write_text("token")
    (saved.directory / "optimizer.pt").write_bytes(b"\x80\x04")
    (saved.directory / "notes.txt").write_text("mine")
    (saved.directory / "LICENSE").symlink_to(tmp_path / "secret.txt")
    with pytest.warns(PaperclipWarning, match=r"LICENSE, notes\.txt, optimizer\.pt"):
        pushed = push_model(saved, "me/eyes", endpoint=hub.url)
    assert pushed.left_out == ("LICENSE", "notes.txt", "optimizer.pt")
    names = set(hub.repos["me/eyes"][pushed.revision])
    assert names == {*pushed.files, ".gitattributes"}
    assert not [n for n in PUBLISHED if n.endswith((".bin", ".pt", ".pkl", ".ckpt"))]


def test_a_hub_without_xet(hub, saved, monkeypatch):
    pytest.importorskip("hf_xet")
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", False)
    assert push_model(saved, "me/eyes", endpoint=hub.url).difference == 0.0
    assert any("xet-write-token" in request for request in hub.requests)
    assert any("/lfs/" in request for request in hub.requests)


def test_existing_repository(hub, saved, finished):
    first = push_model(saved, "me/eyes", endpoint=hub.url)
    with pytest.raises(RemoteServiceError, match="exists; publish with exist_ok") as e:
        push_model(saved, "me/eyes", endpoint=hub.url)
    assert e.value.status == 409
    save_model(finished, saved.directory, licence="mit", overwrite=True)
    second = push_model(saved, "me/eyes", exist_ok=True, endpoint=hub.url)
    assert second.revision != first.revision
    assert hub.branches["me/eyes", "main"] == second.revision


def test_pushing_the_same_again_changes_nothing(hub, saved, caplog):
    first = push_model(saved, "me/eyes", endpoint=hub.url)
    again = push_model(saved, "me/eyes", exist_ok=True, endpoint=hub.url)
    assert again.revision == first.revision


def test_a_branch(hub, saved):
    pushed = push_model(saved, "me/eyes", revision="v2", endpoint=hub.url)
    assert hub.branches["me/eyes", "v2"] == pushed.revision
    assert hub.branches["me/eyes", "main"] != pushed.revision


@pytest.mark.parametrize("stage", ["create", "preupload", "batch", "commit"])
@pytest.mark.parametrize("status", [401, 403])
def test_refusals(hub, saved, stage, status):
    hub.faults["upload"] = {stage: [status]}
    with pytest.raises(RemoteServiceError, match="hf auth login") as caught:
        push_model(saved, "me/eyes", token="hf_secret", endpoint=hub.url)
    assert caught.value.status == status
    assert "hf_secret" not in str(caught.value)
    assert len(hub.repos.get("me/eyes", ())) <= 1  # no commit of ours


@pytest.mark.parametrize("stage", ["create", "preupload", "batch", "put", "commit"])
@pytest.mark.parametrize("fault", [500, "reset"])
def test_trouble_that_passes(hub, saved, stage, fault):
    hub.faults["upload"] = {stage: [fault]}
    assert push_model(saved, "me/eyes", endpoint=hub.url).difference == 0.0


@pytest.mark.parametrize("stage", ["create", "put", "commit"])
@pytest.mark.parametrize("fault", [500, "reset"])
def test_trouble_that_stays(hub, saved, stage, fault):
    hub.faults["upload"] = {stage: [fault] * 100}
    with pytest.raises(RemoteServiceError, match="nothing was published") as caught:
        push_model(saved, "me/eyes", endpoint=hub.url)
    assert caught.value.status == (500 if fault == 500 else None)
    assert len(hub.repos.get("me/eyes", ())) <= 1
    hub.faults.clear()
    assert push_model(saved, "me/eyes", exist_ok=True, endpoint=hub.url).difference == 0


def test_conflict_while_creating(hub, saved):
    hub.faults["upload"] = {"create": [409]}
    with pytest.raises(RemoteServiceError, match="exists; publish with exist_ok"):
        push_model(saved, "me/eyes", endpoint=hub.url)


@pytest.mark.parametrize("name", [WEIGHTS, "README.md", "training.json"])
def test_what_comes_back_is_compared(hub, saved, name):
    hub.faults["corrupt"] = [name]
    with pytest.raises(ModelLoadError, match=f"{name} of me/eyes@.* differs from what"):
        push_model(saved, "me/eyes", endpoint=hub.url)


def test_vectors_are_compared(hub, saved, monkeypatch):
    from paperclip.training import push

    real = push.load_encoder

    def another(place, **options):
        return real(saved.directory if "paperclip-push" in str(place) else other)

    other = shutil.copytree(saved.directory, saved.directory.parent / "other")
    (other / "checksums.json").unlink()
    write_weights(other, lambda tensors: tensors["visual.proj"].add_(0.01))
    monkeypatch.setattr(push, "load_encoder", another)
    with pytest.raises(ModelLoadError, match=r"differ by .* at most 1e-05"):
        push_model(saved, "me/eyes", endpoint=hub.url)


def test_offline_opens_no_connection(hub, saved):
    with conf.set_temp("offline", True), pytest.raises(OfflineError, match="'me/eyes'"):
        push_model(saved, "me/eyes", endpoint=hub.url)
    with pytest.raises(OfflineError, match="switched off"):
        push_model(saved, "me/eyes", endpoint=hub.url, offline=True)
    assert hub.requests == []


@pytest.mark.parametrize(
    "repo", ["eyes", "a/b/c", "me/ey es", "", None, "me/..", "-/a"]
)
def test_bad_repositories(hub, saved, repo):
    with pytest.raises(InvalidQueryError, match="repo must have the form 'org/name'"):
        push_model(saved, repo, endpoint=hub.url)
    assert hub.requests == []


def test_bad_directories(hub, saved, tiny, tmp_path):
    with pytest.raises(ModelNotFoundError, match="paperclip model save"):
        push_model(tmp_path / "nothing", "me/eyes", endpoint=hub.url)
    with pytest.raises(ModelLoadError, match=r"holds no training\.json"):
        push_model(tiny["native"], "me/eyes", endpoint=hub.url)
    with pytest.raises(InvalidQueryError, match="revision must be the name"):
        push_model(saved, "me/eyes", endpoint=hub.url, revision="")
    write_weights(saved.directory, lambda tensors: tensors["visual.proj"].add_(1))
    with pytest.raises(ModelLoadError, match="does not match its checksum"):
        push_model(saved, "me/eyes", endpoint=hub.url)
    assert hub.requests == []
