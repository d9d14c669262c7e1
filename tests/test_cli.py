# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""The command, with a small real model and a small real index."""

import io
import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.io.votable import parse
from astropy.table import MaskedColumn, Table

from paperclip import Paperclip, __version__
from paperclip.cli import main
from paperclip.cli.commands import COMMANDS, GROUPS
from paperclip.cli.layout import to_text
from paperclip.index import Index
from paperclip.models import load_encoder

from .hub_server import hub_server
from .tiny_models import tiny_model_directory

RUN = "import sys; from paperclip.cli import main; sys.exit(main())"
LONG = "GOODS-South field, second epoch, parallel to the primary pointing"
ESCAPE = "\x1b[31mred"


def rows(count):
    """Return made-up observations with gaps, long names and control characters."""
    names = [f"NGC {i}" if i % 3 else LONG for i in range(count)]
    names[1] = ESCAPE
    angles = np.linspace(0, 359, count)
    angles[2] = np.nan
    return Table(
        {
            "obs_id": [f"obs-{i:02d}" for i in range(count)],
            "obs_collection": ["JWST" if i % 2 else "HST" for i in range(count)],
            "instrument_name": ["NIRCAM/IMAGE"] * count,
            "filters": ["F115W;F150W;F200W;F277W;F356W;F444W"] * count,
            "target_name": MaskedColumn(names, mask=np.arange(count) % 5 == 0),
            "proposal_id": [str(1000 + i // 4) for i in range(count)],
            "s_ra": angles * u.deg,
            "s_dec": np.linspace(-89, 89, count) * u.deg,
        }
    )


@pytest.fixture(name="model", scope="module")
def fixture_model(tmp_path_factory):
    return str(tiny_model_directory(tmp_path_factory.mktemp("model") / "tiny"))


@pytest.fixture(name="uri", scope="module")
def fixture_uri(model, tmp_path_factory):
    encoder = load_encoder(model)
    index = Index.create(
        tmp_path_factory.mktemp("index") / "small.lance",
        fingerprint=encoder.fingerprint,
        dimension=encoder.dimension,
        model="tiny",
    )
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (40, 50, 3), dtype=np.uint8) for _ in range(12)]
    index.append(rows(12), encoder.encode_images(pictures))
    return index.uri


@pytest.fixture(name="run")
def fixture_run(model, uri, capfd, monkeypatch, tmp_path):
    """Call the command in an empty folder; return code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*words, small=True):
        words = [str(word) for word in words]
        if small and words[0] in ("query", "describe"):
            words += ["--model", model, "--index", uri]
        code = main(words)
        out, err = capfd.readouterr()
        assert "Traceback" not in err
        return code, out, err

    return run


@pytest.fixture(name="image")
def fixture_image(tmp_path):
    data = np.random.default_rng(1).normal(size=(2, 64, 48)).astype("float32")
    hdus = [fits.PrimaryHDU(), fits.ImageHDU(data[0], name="SCI")]
    fits.HDUList([*hdus, fits.ImageHDU(data, name="CUBE")]).writeto(tmp_path / "a.fits")
    return "a.fits"


def process(*words, code=RUN, **options):
    return subprocess.run(
        [sys.executable, "-c", code, *words],
        capture_output=True,
        text=True,
        check=False,
        **options,
    )


# ---- query


def test_query_prints_the_main_columns(run, model, uri):
    code, out, err = run("query", "spiral galaxy", "--limit", 5)
    assert code == 0
    lines = out.splitlines()
    heading = "rank target instrument filters ra dec programme similarity percentile"
    assert lines[0].split() == heading.split()
    assert len(lines) == 3 + 5
    assert max(map(len, lines)) <= 120
    assert "..." not in out
    expected = Paperclip(model=model, index=uri).query_text("spiral galaxy", limit=5)
    assert [float(line.split()[-2]) for line in lines[3:]] == pytest.approx(
        expected["similarity"], abs=5.1e-4
    )
    assert f"5 observations of {expected.meta['n_props']} programmes; 12 in" in err


def test_rows_without_targets_are_named_by_their_ids(run):
    """Pictures of one's own could not be told apart."""
    _, out, _ = run("query", "x", "--where", "target_name IS NULL")
    assert out.split()[:3] == ["rank", "obs_id", "target"]
    assert "obs-05" in out


def test_words_need_no_quotes(run):
    assert run("query", "spiral", "galaxy") == run("query", "spiral galaxy")


def test_where_and_limit_arrive(run):
    code, out, err = run("query", "x", "--limit", 2, "--where", "proposal_id = '1001'")
    assert (code, out.count(" 1001 ")) == (0, 2)
    assert "2 observations of 1 programme;" in err


def test_no_result_is_an_empty_table_and_a_warning(run):
    code, out, err = run("query", "x", "--where", "obs_id = 'q'")
    assert code == 0
    assert len(out.splitlines()) == 3
    assert err.startswith("warning: no row of index")
    assert "0 observations;" in err


def test_warnings_are_short_lines(run):
    _, _, err = run("query", "la galaxie dans le ciel")
    assert err.startswith("warning: text 'la galaxie dans le ciel' does not look")
    assert ".py" not in err


def test_terminals_get_no_control_characters(run):
    _, out, _ = run("query", "x", "--limit", 12)
    assert "[31mred" in out
    assert "\x1b" not in out


def read(text, form, path):
    path.write_text(text, encoding="utf-8")
    if form == "votable":
        return parse(path, verify="exception").get_first_table().to_table()
    return Table.read(path, format=f"ascii.{form}")


@pytest.mark.parametrize("where", ["s_dec < 1000", "s_dec > 1000"])
@pytest.mark.parametrize("form", ["ecsv", "votable", "csv"])
def test_formats_hold_all_columns(run, model, uri, tmp_path, form, where):
    words = ("query", "galaxy", "--limit", 12, "--where", where)
    code, out, _ = run(*words, "--format", form)
    assert code == 0
    table = read(out, form, tmp_path / "t")
    clip = Paperclip(model=model, index=uri)
    expected = clip.query_text("galaxy", limit=12) if len(table) else table
    assert len(table) == (12 if "<" in where else 0)
    assert len(table.colnames) == 19
    assert list(table["obs_id"]) == list(expected["obs_id"])
    assert np.allclose(table["similarity"], expected["similarity"], atol=1e-6)
    if form != "csv":
        assert table["s_ra"].unit == u.deg
    if len(table):
        for name in ("target_name", "s_ra", "s_region"):
            mask = np.ma.getmaskarray(expected[name])
            found = np.ma.getmaskarray(table[name])
            if form == "votable" and name != "s_ra":  # it has no missing texts
                found = table[name] == ""
            assert np.array_equal(found, mask), name


def test_ecsv_and_votable_say_where_results_come_from(run, tmp_path):
    _, out, _ = run("query", "galaxy", "--format", "ecsv")
    assert read(out, "ecsv", tmp_path / "t").meta["query"] == "galaxy"
    _, out, _ = run("query", "galaxy", "--format", "votable")
    assert '<INFO ID="query" name="query" value="galaxy"/>' in out


def test_json_has_rows_units_and_null(run):
    _, out, _ = run("query", "galaxy", "--limit", 12, "--format", "json")
    found = json.loads(out, parse_constant=pytest.fail)
    assert found["meta"]["query"] == "galaxy"
    columns = {column["name"]: column for column in found["columns"]}
    assert columns["s_ra"]["unit"] == "deg"
    by_id = {row["obs_id"]: row for row in found["rows"]}
    assert len(by_id) == 12
    assert by_id["obs-00"]["target_name"] is None
    assert by_id["obs-02"]["s_ra"] is None
    assert by_id["obs-01"]["target_name"] == ESCAPE
    assert len(str(by_id["obs-01"]["similarity"])) < 14


def test_columns_are_chosen(run):
    _, out, _ = run("query", "x", "--columns", "rank,s_ra,obs_id", "--limit", 2)
    assert out.splitlines()[0].split() == ["rank", "s_ra", "obs_id"]
    _, out, _ = run("query", "x", "--columns", "obs_id", "--format", "csv")
    assert out.startswith("obs_id\nobs-")
    _, out, _ = run("query", "x", "--columns", "all", "--limit", 12)
    assert "jpegURL" in out.splitlines()[0]
    assert LONG in out
    assert "…" not in out
    code, out, err = run("query", "x", "--columns", "obs_di")
    assert (code, out) == (1, "")
    assert "no column 'obs_di'; did you mean 'obs_id'?" in err


# ---- files


@pytest.mark.parametrize(
    "name", ["t.ecsv", "t.vot", "t.xml", "t.csv", "t.json", "t.txt"]
)
def test_output_takes_the_format_of_its_name(run, tmp_path, name):
    code, out, err = run("query", "x", "--output", name)
    assert (code, out) == (0, "")
    assert f"table written to {name}" in err
    start = (tmp_path / name).read_text(encoding="utf-8")[:6]
    assert start.startswith(("# %ECS", "<?xml", "rank,s", "{", "rank"))
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_format_wins_over_the_name(run, tmp_path):
    assert run("query", "x", "--format", "json", "--output", "t.data")[0] == 0
    assert json.loads((tmp_path / "t.data").read_text())["rows"]


def test_files_are_not_replaced_unasked(run, tmp_path):
    file = tmp_path / "t.csv"
    file.write_text("precious")
    code, _, err = run("query", "x", "--output", "t.csv")
    assert (code, file.read_text()) == (1, "precious")
    assert "'t.csv' exists already; add --overwrite" in err
    assert run("query", "x", "--output", "t.csv", "--overwrite")[0] == 0
    assert file.read_text().startswith("rank,")


def test_what_is_no_file_is_not_replaced(run, tmp_path):
    (tmp_path / "t.csv").mkdir()
    code, _, err = run("query", "x", "--output", "t.csv", "--overwrite")
    assert code == 1
    assert "'t.csv' is not a file that can be replaced" in err


def test_a_file_that_cannot_be_written_is_named(run, tmp_path):
    (tmp_path / "no-folder").write_text("")
    code, _, err = run("query", "x", "--output", "no-folder/t.csv")
    assert code == 1
    assert err.startswith("paperclip: error: 'no-folder/t.csv' cannot be written: ")


def test_mosaic_is_drawn_and_drawn_again(run, tmp_path):
    pytest.importorskip("matplotlib")
    for _ in range(2):
        words = ("--limit", 3, "--mosaic", "m.png", "--images", tmp_path, "--offline")
        code, out, err = run("query", "x", *words)
        assert code == 0
        assert out.startswith("rank")
        assert err.endswith("mosaic written to m.png\n")
    assert (tmp_path / "m.png").read_bytes().startswith(b"\x89PNG")


# ---- describe


def test_describe_prints_terms(run, image):
    code, out, err = run("describe", image, "--limit", 3)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    heading = "rank term kind similarity percentile probability"
    assert lines[0].split() == heading.split()
    assert len(lines) == 2 + 3


def test_describe_agrees_with_the_library(run, model, uri, image):
    words = ("--hdu", "CUBE", "--plane", 1, "--kind", "use", "--limit", "all")
    _, out, _ = run("describe", image, *words, "--format", "json")
    found = json.loads(out)["rows"]
    table = Paperclip(model=model, index=uri).describe(
        image, limit=None, kind="science use", hdu="CUBE", plane=1
    )
    assert [row["term"] for row in found] == table["term"].tolist()
    assert [row["percentile"] for row in found] == pytest.approx(table["percentile"])
    assert {row["file"] for row in found} == {image}


@pytest.mark.parametrize("hdu", ["1", "SCI", "sci,1"])
def test_hdus_have_numbers_and_names(run, image, hdu):
    by_default = run("describe", image, "--hdu", 1)
    assert run("describe", image, "--hdu", hdu) == by_default


def test_own_terms(run, image, tmp_path):
    (tmp_path / "terms.txt").write_text("bar\nring\n")
    words = ("--vocabulary", "terms.txt", "--format", "csv")
    _, out, _ = run("describe", image, "--hdu", 1, *words)
    assert sorted(line.split(",")[2] for line in out.splitlines()) == [
        "bar",
        "ring",
        "term",
    ]


def test_several_files_and_those_that_fail(run, image, tmp_path):
    (tmp_path / "text.fits").write_text("no image")
    (tmp_path / "folder").mkdir()
    fits.writeto(tmp_path / "b.fits", np.eye(32, dtype="float32"))
    files = ("missing.fits", "b.fits", "folder", image, "text.fits", "b.fits")
    code, out, err = run("describe", *files, "--limit", 2)
    assert code == 1
    lines = out.splitlines()
    assert lines[0].split()[0] == "file"
    assert [line.split()[0] for line in lines[2:]] == ["b.fits"] * 2 + [image] * 2
    errors = err.splitlines()
    assert [line.startswith("paperclip: error: ") for line in errors] == [True] * 3 + [
        False
    ]
    assert "missing.fits: there is no such file" in errors[0]
    assert "'folder' is a folder; give the files" in errors[1]
    assert "text.fits" in errors[2]
    assert errors[3] == "3 of 5 files failed"


def test_meta_of_several_files(run, image, tmp_path):
    fits.writeto(tmp_path / "b.fits", np.eye(32, dtype="float32"))
    _, out, _ = run("describe", "b.fits", image, "--format", "json", "--limit", 1)
    meta = json.loads(out)["meta"]
    assert len(meta["images"]) == 2
    assert meta["model"].startswith("model-")


def test_a_bad_model_is_reported_once(run, image, uri):
    words = ("describe", image, "b.fits", "--model", "nowhere", "--index", uri)
    code, out, err = run(*words, small=False)
    assert (code, out) == (1, "")
    assert err.splitlines()[0].startswith("paperclip: error: b.fits") is False
    assert err.count("no model 'nowhere'") == 1


def test_figure_is_drawn(run, image, tmp_path):
    pytest.importorskip("matplotlib")
    words = ("--hdu", "CUBE", "--plane", 0, "--figure", "f.svg")
    code, _, err = run("describe", image, *words)
    assert (code, err) == (0, "figure written to f.svg\n")
    assert "<svg" in (tmp_path / "f.svg").read_text(encoding="utf-8")


# ---- index and model


def test_index_info(run, uri):
    code, out, _ = run("index", "info", uri)
    assert code == 0
    assert "rows:            12\n" in out
    assert "model:           tiny\n" in out
    assert out.splitlines()[-1].split() == ["JWST", "NIRCAM/IMAGE", "6"]
    _, out, _ = run("index", "info", uri, "--format", "json")
    found = json.loads(out)
    assert found["meta"]["rows"] == 12
    assert [row["n_rows"] for row in found["rows"]] == [6, 6]


def test_model_info(run, model):
    code, out, _ = run("model", "info", model)
    assert code == 0
    encoder = load_encoder(model)
    assert f"fingerprint:    {encoder.fingerprint}\n" in out
    _, out, _ = run("model", "info", model, "--format", "json")
    (row,) = json.loads(out)["rows"]
    assert row["dimension"] == encoder.dimension
    assert row["size"] > 10**6


def test_a_local_model_needs_no_fetching(run, model):
    code, out, err = run("model", "fetch", model)
    assert (code, out) == (0, f"{model}\n")
    assert "nothing to fetch" in err


def test_a_model_is_fetched_and_then_used_offline(model, tmp_path):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("HF_")}
    environment["HF_HOME"] = str(tmp_path)
    with hub_server() as hub:
        commit = hub.commit("org/tiny", Path(model))
        environment["HF_ENDPOINT"] = hub.url
        got = process("model", "fetch", "org/tiny", env=environment)
        asked = len(hub.requests)
        assert (got.returncode, got.stdout.count("\n")) == (0, 1), got.stderr
        assert f"model org/tiny is complete at revision {commit}" in got.stderr
        info = process("model", "info", "org/tiny", env=environment)
        assert info.returncode == 0, info.stderr
        assert f"revision:       {commit}" in info.stdout
        assert len(hub.requests) == asked
    assert Path(got.stdout.strip(), "open_clip_config.json").is_file()


# ---- what a newcomer does wrong


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("qurey galaxy", "no command 'qurey'; did you mean 'paperclip query'?"),
        ("qqq", "no command 'qqq'; choose from query, describe, index, model"),
        (
            "index inof",
            "did you mean 'paperclip index info'? Choose from build, export",
        ),
        ("model", "usage: paperclip model "),
        ("--limit 5 query x", "'--limit' is no option here; options follow a command"),
        ("query", "the following arguments are required: TEXT"),
        ("query x --limt 5", "no option '--limt'; did you mean '--limit'?"),
        ("query x --limt=5", "no option '--limt'; did you mean '--limit'?"),
        ("query x --limit 5 y", "unexpected 'y'; put words that belong together in"),
        ("query x --limit 0", "--limit: must be a whole number from 1, got '0'"),
        ("query x --limit -3", "--limit: must be a whole number from 1, got '-3'"),
        ("query x --limit few", "--limit: must be a whole number from 1, got 'few'"),
        ("query x --format xml", "--format: invalid choice: 'xml'"),
        ("query x --columns a,,b", "--columns: must be names with commas"),
        ("query x --output t.fits", "'t.fits' must end in .txt, .ecsv, .vot"),
        ("query x --mosaic t.txt", "--mosaic: must end in .png, .pdf, .svg"),
        ("query x --images .", "--images needs --mosaic"),
        ("describe", "the following arguments are required: FILE"),
        ("describe a b --figure f.png", "--figure draws one image; give one FILE"),
        ("describe a --hdu SCI,x", "--hdu: must be a number, a name, or a name and a"),
        ("describe a --plane x", "--plane: must be a number, or numbers with commas"),
        ("describe a --limit none", "--limit: must be a whole number from 1"),
        ("model fetch", "the following arguments are required: NAME"),
    ],
)
def test_usage_errors(run, words, message):
    code, out, err = run(*words.split(), small=False)
    assert (code, out) == (2, "")
    assert message in err.splitlines()[0]


def test_without_a_command_there_is_help(capfd):
    assert main([]) == 2
    assert "describe  Describe images" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["query", " "], "text must not be blank, got ' '; say what to look for"),
        (["query", "天体"], "text must be English"),
        (["query", "x", "--where", "foo = 1"], "no column 'foo'; choose from obs_id"),
        (["query", "x", "--where", ""], "where must be a condition in SQL"),
        (["query", "x", "--device", "gpu"], "device must be 'auto', 'cpu', 'cuda'"),
        (
            ["query", "x", "--mosaic", "m.png", "--images", "q"],
            "there is no folder 'q'",
        ),
        (["index", "info", "q"], "no index at "),
        (["index", "info", "."], "is not an index"),
        (["model", "info", "q"], "no model 'q'; there is no such directory"),
        (["model", "info", "org/q"], "run 'paperclip model fetch org/q' once with a"),
        (["model", "fetch", "bulitin"], "did you mean 'builtin'?"),
        (["describe", "q.fits"], "q.fits: there is no such file"),
        (["describe", "t.py"], "t.py is not a readable FITS, JPEG or PNG file"),
        (["describe", "."], "'.' is a folder; give the files"),
        (["describe", "a.fits", "--hdu", "9"], "It holds: 0 'PRIMARY'"),
        (["describe", "a.fits", "--hdu", "CUBE"], "choose a plane with --plane"),
        (["describe", "a.fits", "--kind", "q"], "--kind: no kind 'q' in the vocab"),
        (["describe", "a.fits", "--kind", "e"], "choose from 'object or phenomenon'"),
        (["describe", "a.fits", "--vocabulary", "q"], "must end in .ecsv, .csv, .txt"),
        (["describe", "a.fits", "--vocabulary", "q.txt"], "no vocabulary file 'q.txt'"),
    ],
)
@pytest.mark.usefixtures("image")
def test_errors(run, tmp_path, words, message):
    (tmp_path / "t.py").write_text("import this")
    code, out, err = run(*words)
    assert (code, out) == (1, "")
    assert err.startswith("paperclip: error: ")
    assert message in err.splitlines()[0]


def test_an_index_of_another_model_is_refused(run, uri, tmp_path):
    other = tiny_model_directory(tmp_path / "other", seed=1)
    code, _, err = run("query", "x", "--model", other, "--index", uri, small=False)
    assert code == 1
    assert "was built with model" in err


def test_drawing_without_matplotlib(run, monkeypatch):
    monkeypatch.setattr("paperclip.cli.searching.find_spec", lambda name: None)
    code, _, err = run("query", "x", "--mosaic", "m.png")
    assert code == 1
    assert "pip install 'astro-paperclip[plot]'" in err


@pytest.mark.parametrize("how", ["option", "environment"])
def test_traceback_on_request(capfd, monkeypatch, how):
    words = ["index", "info", "nowhere"]
    if how == "option":
        words.append("--traceback")
    else:
        monkeypatch.setenv("PAPERCLIP_TRACEBACK", "1")
    assert main(words) == 1
    err = capfd.readouterr().err
    assert "Traceback (most recent call last):" in err
    assert err.splitlines()[-1].startswith("paperclip: error: no index at")


# ---- the program around the commands


def test_names_of_commands():
    names = [command.name for command in COMMANDS]
    assert len(names) == len(set(names))
    assert {name.split()[0] for name in names if " " in name} == set(GROUPS)


@pytest.mark.parametrize("name", ["", *GROUPS, *(c.name for c in COMMANDS)])
def test_every_command_has_help(capfd, name):
    assert main([*name.split(), "--help"]) == 0
    assert capfd.readouterr().out.startswith(f"usage: paperclip {name}".rstrip())


def test_version(capfd):
    assert main(["--version"]) == 0
    assert capfd.readouterr().out == f"paperclip {__version__}\n"


def test_main_leaves_warnings_and_logging_alone(run):
    before = sys.modules["warnings"].showwarning
    run("query", "x")
    assert sys.modules["warnings"].showwarning is before
    assert not logging.getLogger("paperclip").handlers


def test_progress_is_for_terminals_only(run, monkeypatch, model, uri):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    assert main(["query", "x", "--model", model, "--index", uri]) == 0
    assert "loading the model" in screen.getvalue()
    assert screen.getvalue().endswith("\r\033[K")
    monkeypatch.undo()
    assert "loading" not in run("query", "x")[2]


def test_interrupt(capfd, monkeypatch):
    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr("paperclip.cli.parse", interrupt)
    assert main(["query", "x"]) == 130
    assert capfd.readouterr().err == "paperclip: interrupted\n"


def test_a_terminal_without_unicode(monkeypatch, model, uri):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    words = ["query", "x", "--limit", "12", "--model", model, "--index", uri]
    assert main(words) == 0
    assert b"GOODS-South" in raw.getvalue()
    assert b"?" in raw.getvalue()  # in place of the ellipsis


def test_narrow_terminals_cut_texts_and_keep_numbers(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stdout", Terminal())
    monkeypatch.setenv("COLUMNS", "50")
    table = Table({"a": ["x" * 99, "y"], "b": ["z" * 60, ""], "c": [1.25, 2.5]})
    view = {"a": ("first", None), "b": ("b", None), "c": ("number", ".1f")}
    lines = to_text(table, view, to_screen=True).splitlines()
    assert max(map(len, lines)) == 50
    assert lines[2].endswith("…    1.2")
    lines = to_text(table, {"a": ("file", None)}, to_screen=True).splitlines()
    assert lines[2] == "…" + 49 * "x"  # of a path, the end says more
    monkeypatch.setenv("COLUMNS", "5")
    lines = to_text(table, view, to_screen=True).splitlines()
    assert max(map(len, lines)) == 12 + 1 + 12 + 1 + 6


def test_importing_the_command_is_cheap():
    heavy = "astropy.table", "astropy.units", "torch", "lance", "matplotlib"
    loaded = f"print([m for m in {heavy} if m in sys.modules])"
    assert process(code=f"import sys, paperclip.cli; {loaded}").stdout == "[]\n"
    code = f"import sys; from paperclip.cli import main; main(['--version']); {loaded}"
    assert process(code=code).stdout.splitlines()[1] == "[]"


def test_process_errors_have_no_traceback(tmp_path):
    got = process("describe", "nope.fits", cwd=tmp_path)
    assert got.returncode == 1
    assert got.stdout == ""
    assert got.stderr == "paperclip: error: nope.fits: there is no such file\n"
    assert process("query").returncode == 2


def test_a_reader_that_leaves_is_no_error(uri):
    with subprocess.Popen(
        [sys.executable, "-c", RUN, "index", "info", uri],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as running:
        running.stdout.close()
        assert running.stderr.read() == b""
        assert running.wait() == 141


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_is_one_line(uri):
    with Path("/dev/full").open("w") as full:
        got = subprocess.run(
            [sys.executable, "-c", RUN, "index", "info", uri],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert got.returncode == 1
    assert got.stderr == "paperclip: error: No space left on device\n"
