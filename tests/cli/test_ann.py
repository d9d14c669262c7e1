# Licensed under a 3-clause BSD style license - see LICENSE.rst
import json

import numpy as np
import pytest

from paperclip.cli import main
from paperclip.index import Index
from paperclip.models import load_encoder


@pytest.fixture(name="index", scope="module")
def fixture_index(tmp_path_factory):
    encoder = load_encoder("builtin", offline=True)
    index = Index.create(
        tmp_path_factory.mktemp("cli-ann") / "ix",
        fingerprint=encoder.fingerprint,
        dimension=encoder.dimension,
    )
    rng = np.random.default_rng(0)
    middle = rng.normal(size=(30, encoder.dimension))
    vectors = middle[rng.integers(0, 30, 10_000)]
    vectors += 0.5 * rng.normal(size=vectors.shape)
    index.append({"obs_id": [f"row-{i}" for i in range(10_000)]}, vectors)
    return index


@pytest.fixture(name="run")
def fixture_run(capfd):
    def run(*words):
        try:
            code = main(["index", "ann", *map(str, words)])
        except SystemExit as exc:
            code = exc.code
        out, err = capfd.readouterr()
        assert "Traceback" not in err
        return code, out, err

    return run


@pytest.mark.filterwarnings("ignore::paperclip.exceptions.ApproximateSearchWarning")
def test_make_show_and_drop(run, index, tmp_path):
    code, out, _ = run(index.uri, "--show", "--format", "json")
    assert code == 0
    assert json.loads(out)["rows"] == []
    code, out, err = run(index.uri, "--show")
    assert (code, out) == (0, "")
    assert f"all searches are exact; 'paperclip index ann {index.uri}' makes one" in err
    texts = tmp_path / "texts.txt"
    texts.write_text("spiral galaxy\n\nstar cluster with dust\n", encoding="utf-8")
    code, out, err = run(
        index.uri, "--recall", "0.5", "--kind", "fast", "--texts", texts, "--offline"
    )
    assert code == 0, err
    assert "kind" in out
    assert "fast" in out
    assert "partitions" in out
    assert "rows kept rows wanted partitions candidates recall time exact time" in (
        " ".join(out.split())
    )
    code, out, _ = run(index.uri, "--show", "--format", "json")
    rows = json.loads(out)["rows"]
    assert {row["limit"] for row in rows if row["share"] == 1} == {10, 100, 1000}
    code, _, err = run(index.uri, "--drop")
    assert (code, "the approximate index is dropped" in err) == (0, True)
    code, _, err = run(index.uri, "--drop")
    assert (code, "there is no approximate index" in err) == (0, True)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--recall", "much"), "must be a number between 0 and 1, got 'much'"),
        (("--recall", "1.5"), "recall must be a number between 0 and 1"),
        (("--kind", "fest"), "did you mean 'fast'"),
        (("--drop", "--recall", "0.9"), "--recall is for making one"),
        (("--drop", "--show"), "not allowed with"),
        (("--texts", "/nowhere/texts.txt"), "--texts /nowhere/texts.txt"),
    ],
)
def test_mistakes(run, index, words, message):
    code, out, err = run(index.uri, *words)
    assert code in (1, 2)
    assert out == ""
    assert message in err


def test_a_file_without_texts(run, index, tmp_path):
    (tmp_path / "texts.txt").write_text("\n \n", encoding="utf-8")
    code, _, err = run(index.uri, "--texts", tmp_path / "texts.txt")
    assert code == 2
    assert "holds no text; write one query per line" in err
