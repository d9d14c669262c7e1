# Licensed under a 3-clause BSD style license - see LICENSE.rst
import json
import zlib

import numpy as np
import pytest

from paperclip.exceptions import (
    DataSetError,
    DataSetWriteError,
    FailedRowsWarning,
    InvalidQueryError,
    ModelLoadError,
)
from paperclip.training import Evaluation, Pair, PairList, evaluate
from paperclip.training._bootstrap import Area, ClassMean, Mean, Median, draw_weights
from paperclip.training._measure import _distinct
from paperclip.training.metrics import auc

from ..tiny_models import tiny_model_directory

COLOURS = {"red": (200, 20, 20), "green": (20, 200, 20), "blue": (20, 20, 200)}
COLOURS |= {"yellow": (200, 200, 20), "grey": (90, 90, 90), "pink": (240, 120, 160)}


class ColourEncoder:
    """Encodes pictures by their mean colour, and texts by their first colour."""

    name, fingerprint, logit_scale = "colours", "colours-1", 10.0

    def __init__(self, noise=0.0):
        self.noise = noise

    def encode_images(self, images, *, load=None, batch_size=None, progress=None):
        loaded = [load(image) for image in images]
        vectors = np.array([self._vector(p.mean((0, 1)), p.tobytes()) for p in loaded])
        if progress is not None:
            progress(len(vectors))
        return vectors

    def encode_texts(self, texts, *, batch_size=None, long="chunk"):
        first = [
            next((w for w in text.lower().split() if w in COLOURS), "grey")
            for text in texts
        ]
        return np.array([self._vector(COLOURS[word], b"") for word in first])

    def _vector(self, colour, seed):
        vector = np.array(colour, dtype=float) - 100
        vector /= np.linalg.norm(vector)
        rng = np.random.default_rng(zlib.crc32(seed))
        return vector + self.noise * rng.normal(size=3) * bool(seed)


class Constant(ColourEncoder):
    def _vector(self, colour, seed):
        return np.ones(3)


def coloured(names=tuple(COLOURS), each=3, label=False, **meta):
    """Return pairs whose caption names the colour of the picture."""
    pairs = []
    for number, name in enumerate(names):
        for i in range(each):
            rng = np.random.default_rng([number, i])
            shade = rng.integers(-15, 15, (8, 8, 3))
            picture = np.clip(np.array(COLOURS[name]) + shade, 0, 255).astype(np.uint8)
            texts = {"abstract": f"{name} light", "title": f"On {name} things"}
            if label:
                texts["label"] = (name, "light") if i else (name,)
            pairs.append(
                Pair(
                    key=f"{name}-{i}",
                    picture=picture,
                    texts=texts,
                    group=f"X:{name}",
                    meta={k: v[number % len(v)] for k, v in meta.items()},
                )
            )
    return PairList(pairs)


def rows_of(table):
    return {row["name"]: row for row in table}


def same(one, other):
    assert one.colnames == other.colnames
    for name in one.colnames:
        a, b = one[name], other[name]
        assert np.array_equal(np.ma.getmaskarray(a), np.ma.getmaskarray(b)), name
        assert np.ma.allequal(a, b), name


def test_a_perfect_model_is_perfect():
    found = evaluate(ColourEncoder(), coloured(), ks=(1, 3), bootstrap=50)
    assert found["top10"] == pytest.approx(0.6)  # 10 % of 6 captions
    for name in ("recall@1", "recall@3", "map", "ndcg@3", "median_rank", "auc"):
        assert found[name] == 1, name
        assert found[f"{name}_macro"] == 1
    for name in ("recall@1_text", "map_text", "ndcg@3_text", "median_rank_text"):
        assert found[name] == 1, name
    assert found["proposals@3_text"] == 1
    assert found["batch18_top10"] < 1
    assert "colours" in repr(found)


def test_a_model_that_says_the_same_of_everything_is_at_chance():
    table = evaluate(Constant(), coloured(label=True), bootstrap=0).metrics
    for row in table:
        if row["chance"] is np.ma.masked or row["name"].startswith(("tfidf", "bm25")):
            continue
        assert row["value"] == pytest.approx(row["chance"], abs=1e-6), row["name"]


def test_table_says_everything():
    found = evaluate(ColourEncoder(0.4), coloured(), bootstrap=40)
    table = found.metrics
    assert table.colnames == ["name", "value", "low", "high", "chance", "n"]
    assert len(set(table["name"])) == len(table)
    assert (table["low"] <= table["value"]).all()
    assert (table["value"] <= table["high"]).all()
    assert set(table["n"]) == {18, 6}
    assert table.meta["n_proposals"] == 6
    names = set(table["name"])
    for name in ("top10", "recall@1", "loss", "median_rank", "auc", "top10_text"):
        assert {name, f"{name}_macro"} <= names
    with pytest.raises(InvalidQueryError, match="no figure 'top5'"):
        found["top5"]


def test_order_of_pairs_does_not_matter():
    pairs = coloured()
    mixed = pairs.select(np.random.default_rng(0).permutation(len(pairs)))
    one, other = (evaluate(ColourEncoder(0.5), p, bootstrap=20) for p in (pairs, mixed))
    same(one.metrics, other.metrics)
    assert one.settings == other.settings


def test_seed_decides_the_intervals():
    found = [
        evaluate(ColourEncoder(0.6), coloured(), seed=s, bootstrap=30).metrics
        for s in (0, 0, 1)
    ]
    same(found[0], found[1])
    assert (found[0]["low"] != found[2]["low"]).any()
    none = evaluate(ColourEncoder(), coloured(), bootstrap=0).metrics
    assert none["low"].mask.all()


def test_macro_average_is_not_moved_by_a_large_programme():
    large = coloured(("red",), each=40)
    pairs = PairList([*large, *coloured(("green", "blue", "yellow"), each=1)])

    class Wrong(ColourEncoder):
        """Knows red only."""

        def encode_texts(self, texts, **options):
            vectors = super().encode_texts(texts, **options)
            return np.where(vectors[:, :1] > vectors[:, 1:].max(1)[:, None], 1, -1) * (
                vectors
            )

    found = evaluate(Wrong(), pairs, bootstrap=0, ks=(1,))
    assert found["recall@1"] > 0.9
    assert found["recall@1_macro"] < 0.5


def test_records_hold_everything(tmp_path):
    place = tmp_path / "new" / "records"
    pairs = coloured(label=True)
    found = evaluate(ColourEncoder(0.5), pairs, bootstrap=30, records=place)
    again = Evaluation.load(place)
    same(found.metrics, again.metrics)
    same(found.curve(), again.curve())
    names = sorted(path.name for path in place.iterdir())
    assert names == [
        "evaluation.json", "metrics.ecsv", "pictures.parquet", "queries.parquet",
    ]  # fmt: skip
    assert [path.name for path in place.parent.iterdir()] == ["records"]
    zero = found.compare(place)
    assert (zero["difference"] == 0).all()
    assert (zero["low"] == 0).all()
    evaluate(ColourEncoder(), pairs, bootstrap=0, records=place)  # replaces it
    assert Evaluation.load(place)["recall@1"] == 1


def test_difference_of_two_models():
    pairs = coloured(each=4)
    good = evaluate(ColourEncoder(0.05), pairs, bootstrap=200)
    bad = evaluate(ColourEncoder(1.5), pairs, bootstrap=200)
    table = rows_of(good.compare(bad))
    row = table["recall@1"]
    assert row["difference"] == pytest.approx(good["recall@1"] - bad["recall@1"])
    assert 0 < row["low"] <= row["difference"] <= row["high"]
    back = rows_of(bad.compare(good))["recall@1"]
    assert back["high"] == pytest.approx(-row["low"])


def test_differences_need_the_same_pairs():
    one = evaluate(ColourEncoder(), coloured(), bootstrap=0)
    other = evaluate(ColourEncoder(), coloured(each=2), bootstrap=0)
    with pytest.raises(InvalidQueryError, match="6 entries are in one only: 'blue-2'"):
        one.compare(other)
    other = evaluate(ColourEncoder(), coloured(), bootstrap=0, fraction=0.2)
    with pytest.raises(InvalidQueryError, match=r"same fraction, 0.1, got 0.2"):
        one.compare(other)


def test_subsets_are_measured_among_themselves():
    pairs = coloured(mission=["HST", "JWST"])
    found = evaluate(ColourEncoder(0.3), pairs, by="mission", bootstrap=10)
    table = found.metrics
    assert list(dict.fromkeys(table["subset"])) == ["all", "HST", "JWST"]
    alone = pairs.select([pair.meta["mission"] == "HST" for pair in pairs])
    alone = rows_of(evaluate(ColourEncoder(0.3), alone, bootstrap=10).metrics)
    for row in table[table["subset"] == "HST"]:
        assert row["value"] == pytest.approx(alone[row["name"]]["value"]), row["name"]
    assert len(found.curve(subset="JWST")) == 101
    with pytest.raises(InvalidQueryError, match="subset must be one of"):
        found.curve(subset="Euclid")
    with pytest.raises(InvalidQueryError, match="by must be a column of meta"):
        evaluate(ColourEncoder(), pairs, by="colour", bootstrap=0)


def test_a_subset_of_one_proposal_is_left_out():
    pairs = coloured(mission=["HST", "HST", "HST", "HST", "HST", "JWST"])
    with pytest.warns(FailedRowsWarning, match="'JWST' is not measured separately"):
        found = evaluate(ColourEncoder(), pairs, by="mission", bootstrap=0)
    assert set(found.metrics["subset"]) == {"all", "HST"}


def test_classes_are_chosen():
    pairs = coloured(label=True)
    found = evaluate(ColourEncoder(), pairs, bootstrap=0, label_prompt="a {} one")
    assert found["class_accuracy"] > 0.9
    assert found["class_majority"] == pytest.approx(1 / 6)
    assert found["label_precision@1"] > 0.5
    assert "bm25_label_map" in found.metrics["name"]
    table = rows_of(found.metrics)
    assert table["class_accuracy"]["chance"] == pytest.approx((6 * 1 + 12 * 2) / 18 / 7)


def test_terms_without_labels_are_recorded_only():
    found = evaluate(ColourEncoder(), coloured(), bootstrap=0, labels=list(COLOURS))
    assert "class_accuracy" not in found.metrics["name"]
    row = found.pictures[found.pictures["key"] == "pink-0"][0]
    assert row["terms"][0] == "pink"
    with pytest.raises(InvalidQueryError, match="labels must hold all classes"):
        evaluate(ColourEncoder(), coloured(label=True), labels=["red", "blue"])


def test_words_alone_rank_the_other_texts():
    table = rows_of(evaluate(ColourEncoder(), coloured(), bootstrap=0).metrics)
    assert table["bm25_map_text"]["value"] == 1
    assert table["tfidf_recall@1_text"]["value"] == 1
    found = evaluate(ColourEncoder(), coloured(), bootstrap=0, documents=None)
    assert not any(str(n).startswith("bm25") for n in found.metrics["name"])
    with pytest.raises(
        InvalidQueryError, match=r"documents must be one of \['title'\]"
    ):
        evaluate(ColourEncoder(), coloured(), documents="abstract")


def test_a_real_model_directory(tmp_path):
    model = tiny_model_directory(tmp_path / "model")
    done = []
    found = evaluate(model, coloured(each=2), bootstrap=10, progress=done.append)
    assert done[-1] == 12
    assert np.isfinite(found["loss"])
    assert found.settings["model"]["fingerprint"].startswith("model-")


def test_pictures_that_cannot_be_read_are_left_out(tmp_path):
    pairs = coloured()
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    bad = Pair(key="bad", picture=broken, texts=pairs[0].texts, group="X:red")
    lost = Pair(key="lost", picture=tmp_path / "x.png", texts=pairs[0].texts, group="Y")
    with pytest.warns(FailedRowsWarning, match=r"2 of 20 pictures .*'bad'.*left out"):
        found = evaluate(ColourEncoder(), PairList([bad, lost, *pairs]), bootstrap=0)
    expected = evaluate(ColourEncoder(), pairs, bootstrap=0)
    same(found.metrics, expected.metrics)
    other = Pair(key="b2", picture=broken, texts={"abstract": "x"}, group="Z")
    with pytest.raises(DataSetError, match="2 of 2 pictures cannot be read"):
        evaluate(ColourEncoder(), PairList([bad, other]))


def test_pairs_without_caption_are_left_out():
    silent = Pair(
        key="silent", picture=np.zeros((4, 4, 3), np.uint8), texts={}, group="Q"
    )
    with pytest.warns(FailedRowsWarning, match="1 of 19 pairs have no caption: 'sil"):
        found = evaluate(ColourEncoder(), PairList([silent, *coloured()]), bootstrap=0)
    assert found.settings["n_pictures"] == 18
    with pytest.raises(
        DataSetError, match=r"no pair has a text .*'summary'; there are"
    ):
        evaluate(ColourEncoder(), coloured(), texts="summary")
    several = evaluate(
        ColourEncoder(), coloured(), texts=("summary", "title"), bootstrap=0
    )
    assert several.settings["texts"] == ["summary", "title"]


def test_one_proposal_is_not_enough():
    with pytest.raises(DataSetError, match="at least 2 proposals, got 1"):
        evaluate(ColourEncoder(), coloured(("red",)))
    pairs = coloured(("red", "blue"))
    same_text = PairList(
        Pair(key=p.key, picture=p.picture, texts={"abstract": "red"}, group=p.group)
        for p in pairs
    )
    with pytest.raises(DataSetError, match="at least 2 distinct captions, got 1"):
        evaluate(ColourEncoder(), same_text)
    mixed = [
        Pair(key="a", picture=pairs[0].picture, texts={"abstract": "red"}, group="1"),
        Pair(key="b", picture=pairs[1].picture, texts={"abstract": "blue"}, group="1"),
        Pair(key="c", picture=pairs[2].picture, texts={"abstract": "blue"}, group="2"),
    ]
    with pytest.raises(DataSetError, match="proposal '1' has all 2 captions"):
        evaluate(ColourEncoder(), PairList(mixed))


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0])
@pytest.mark.parametrize("what", ["pictures", "captions", "labels"])
def test_vectors_that_are_not_finite_are_refused(what, value):
    """Also those of an encoder that does not check them itself."""

    class Broken(ColourEncoder):
        def encode_images(self, images, **options):
            return self._broken(super().encode_images(images, **options), "pictures")

        def encode_texts(self, texts, **options):
            kind = "labels" if texts[0].startswith("a label") else "captions"
            return self._broken(super().encode_texts(texts, **options), kind)

        def _broken(self, vectors, kind):
            return vectors * value if kind == what else vectors

    match = f"model 'colours': vectors of {what} must be finite and not zero, got"
    with (
        np.errstate(invalid="ignore"),
        pytest.raises(ModelLoadError, match=f"{match}.* take another model"),
    ):
        evaluate(Broken(), coloured(label=True), label_prompt="a label {}")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ks": ()}, "ks must hold at least one"),
        ({"ks": (0,)}, "ks must be at least 1"),
        ({"fraction": 2}, "fraction must be above 0"),
        ({"seed": -1}, "seed must be at least 0"),
        ({"bootstrap": 1.5}, "bootstrap must be a whole number"),
        ({"by": 3}, "by must be the name of a column"),
        ({"texts": ()}, "texts must be the name of a caption source"),
        ({"label_prompt": "no place"}, "label_prompt must be a text with one {}"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(InvalidQueryError, match=message):
        evaluate(ColourEncoder(), coloured(), **options)


def test_records_do_not_overwrite_other_things(tmp_path):
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(DataSetError, match="records must be a new or empty folder"):
        evaluate(ColourEncoder(), coloured(), records=tmp_path)
    with pytest.raises(DataSetError, match="is a file"):
        evaluate(ColourEncoder(), coloured(), records=tmp_path / "mine.txt")
    found = evaluate(ColourEncoder(), coloured(), bootstrap=0)
    with pytest.raises(DataSetWriteError, match="records cannot be written"):
        found.save(tmp_path / "mine.txt" / "below")


def test_damaged_records_are_told(tmp_path):
    with pytest.raises(DataSetError, match="is no evaluation"):
        Evaluation.load(tmp_path)
    place = tmp_path / "records"
    evaluate(ColourEncoder(), coloured(), bootstrap=0, records=place)
    settings = place / "evaluation.json"
    content = settings.read_text()
    for text, message in (
        (content[:50], "is damaged"),
        ("[]", "it must hold a mapping"),
        (json.dumps({**json.loads(content), "format": 9}), "has the format 9"),
        (json.dumps({**json.loads(content), "ks": 3}), "ks must be of the type list"),
    ):
        settings.write_text(text)
        with pytest.raises(DataSetError, match=message):
            Evaluation.load(place)
    settings.write_text(content)
    pictures = place / "pictures.parquet"
    pictures.write_bytes(pictures.read_bytes()[:200])
    with pytest.raises(DataSetError, match=r"pictures\.parquet cannot be read"):
        Evaluation.load(place)
    pictures.write_bytes((place / "queries.parquet").read_bytes())
    with pytest.raises(DataSetError, match=r"pictures.parquet lacks key"):
        Evaluation.load(place)


def test_curve_holds_the_accuracy():
    found = evaluate(ColourEncoder(0.6), coloured(), bootstrap=50)
    curve = found.curve([0, 0.1, 1])
    row = rows_of(found.metrics)["top10"]
    assert [curve["value"][i] for i in (0, 2)] == [0, 1]
    assert curve["value"][1] == row["value"]
    assert curve["low"][1] == pytest.approx(min(row["low"], row["value"]))
    text = found.curve([0.1], direction="text")
    assert text["value"][0] == found["top10_text"]
    with pytest.raises(
        InvalidQueryError, match="fractions must be numbers from 0 to 1"
    ):
        found.curve([2])
    with pytest.raises(InvalidQueryError, match="direction must be"):
        found.curve(direction="up")


# ---- figures as functions of weights


@pytest.mark.parametrize("macro", [False, True])
def test_weights_are_repeated_proposals(macro):
    rng = np.random.default_rng(3)
    units = np.repeat(np.arange(5), [1, 4, 2, 6, 3])
    values, wrong = rng.normal(size=16), rng.normal(size=(16, 2))
    weights = np.array([[2.0, 0, 1, 1, 1], [0, 3, 0, 1, 1]])
    found = {
        kind: kind(values, units, 5, macro=macro)(weights) for kind in (Mean, Median)
    }
    area = Area(values, units, 5, wrong=wrong, macro=macro)(weights)
    for row, weight in enumerate(weights):
        copies = [u for u in range(5) for _ in range(int(weight[u]))]
        if macro:
            each = [np.mean(values[units == u]) for u in copies]
            assert found[Mean][row] == pytest.approx(np.mean(each))
            share = weight[units] / np.bincount(units)[units]
            expected = auc(values, wrong, share, np.repeat(share, 2))
        else:
            places = np.concatenate([np.flatnonzero(units == u) for u in copies])
            assert found[Mean][row] == pytest.approx(values[places].mean())
            assert found[Median][row] == pytest.approx(np.median(values[places]))
            expected = auc(values[places], wrong[places])
        assert area[row] == pytest.approx(expected)


def test_means_over_classes():
    values, classes = np.array([1, 1, 0, 0, 1.0]), np.array(list("aaabb"))
    units = np.array([0, 1, 2, 0, 1])
    figure = ClassMean(values, units, 3, classes=classes)
    assert figure.value == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert figure(np.array([[0.0, 0, 2]]))[0] == 0  # no picture of b


def test_samples_keep_their_size():
    draws = np.concatenate(list(draw_weights(7, 250, 0)))
    assert draws.shape == (250, 7)
    assert (draws.sum(1) == 7).all()
    assert draws.mean() == 1


@pytest.mark.parametrize("seed", range(4))
def test_distinct_proposals_are_a_mean_over_ties(seed):
    rng = np.random.default_rng(seed)
    scores, codes = rng.integers(0, 3, 9).astype(float), rng.integers(0, 4, 9)
    for k in (1, 3, 6, 20):
        drawn = [
            len(set(codes[np.lexsort((rng.random(9), -scores))[:k]]))
            for _ in range(2000)
        ]
        assert _distinct(scores, codes, k) == pytest.approx(np.mean(drawn), abs=0.08)
