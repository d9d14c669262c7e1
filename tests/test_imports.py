# Licensed under a 3-clause BSD style license - see LICENSE.rst
"""Guards of the architecture: a cheap import, dependencies in one direction."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import paperclip

ROOT = Path(paperclip.__file__).parent
HEAVY = {
    "accelerate",
    "astroquery",
    "huggingface_hub",
    "lance",
    "matplotlib",
    "open_clip",
    "outlines",
    "pandas",
    "pyarrow",
    "ray",
    "torch",
    "torchvision",
    "transformers",
}
# files that may import something heavy at the top, because they are themselves
# imported inside functions only; paths below paperclip/
OWNERS = {
    f"index/{name}.py": {"pyarrow"}
    for name in (
        "_columns",
        "_commit",
        "_exact",
        "_mapped",
        "_raytasks",
        "_reading",
        "_rows",
        "_selecting",
        "_sky",
        "_snapshot",
        "_writing",
        "formats/_load",
        "formats/_plan",
        "formats/_schema",
        "schema",
    )
}
# room -> rooms that it may import at all, at the top or inside functions
FOUNDATION = {"exceptions", "utils", "conf", "__version__"}
WORKERS = {"imaging", "index", "models", "localize"}
ALLOWED = {
    "exceptions": set(),
    "utils": {"exceptions", "conf"},
    "queries": {"exceptions", "utils"},
    "results": {"exceptions", "utils"},
    "vocabulary": {"exceptions", "utils"},
    "imaging": FOUNDATION,
    "models": FOUNDATION,
    "footprints": {"exceptions", "utils"},
    "mast": FOUNDATION | {"results", "footprints"},
    "archive": FOUNDATION | {"results", "footprints", "mast", "imaging"},
    "index": FOUNDATION | {"results", "footprints", "imaging", "models", "mast"},
    "localize": FOUNDATION | {"results", "imaging", "models"},
    "plotting": FOUNDATION | {"results", "imaging", "_figures", "_previews"},
    "_figures": FOUNDATION | {"results", "imaging"},
    "_previews": FOUNDATION | {"imaging"},
    "answers": {"exceptions", "utils", "results", "index"},
    "streaming": FOUNDATION | {"answers", "queries", "results"},
    "describing": FOUNDATION | WORKERS | {"answers", "vocabulary"},
    "core": FOUNDATION
    | WORKERS
    | {"describing"}
    | {"streaming", "answers", "archive", "mast", "queries", "results", "vocabulary"},
    "training": FOUNDATION
    | {
        "_figures",
        "results",
        "vocabulary",
        "footprints",
        "imaging",
        "models",
        "mast",
        "index",
    },
    "cli": FOUNDATION
    | WORKERS
    # the command line is the one caller of everything
    | {"core", "mast", "plotting", "results", "training", "vocabulary"}
    | {"Paperclip", "PaperclipClass"},
    "__main__": {"cli"},
}


def sources():
    paths = sorted(ROOT.rglob("*.py"))
    return [path for path in paths if path.name != "_version.py"]


def room(path):
    """Return the first part of the path below the package, without suffix."""
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def absolute(node, path):
    """Return the full name of the module that an ``import from`` names."""
    if not node.level:
        return node.module
    parts = ("paperclip", *path.relative_to(ROOT).parts[:-1])
    parts = parts[: len(parts) - node.level + 1]
    return ".".join([*parts, node.module] if node.module else parts)


def imported(tree, path):
    """Yield the full dotted name of everything that a tree imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = absolute(node, path)
            yield from (f"{module}.{alias.name}" for alias in node.names)


def at_the_top(tree):
    """Keep what runs when a module is imported: no function bodies."""

    class Strip(ast.NodeTransformer):
        def visit_FunctionDef(self, node):
            return None

        visit_AsyncFunctionDef = visit_FunctionDef

    return Strip().visit(tree)


@pytest.mark.parametrize("path", sources(), ids=lambda p: str(p.relative_to(ROOT)))
def test_dependencies_point_one_way(path):
    here = room(path)
    if here == "__init__":
        return
    assert here in ALLOWED, f"{here} is a new room: say in ALLOWED what it may import"
    names = imported(ast.parse(path.read_text(encoding="utf-8")), path)
    ours = [name.split(".") for name in names if name.split(".")[0] == "paperclip"]
    wrong = {parts[1] for parts in ours if len(parts) > 1} - {here, *ALLOWED[here]}
    assert not wrong, f"{path.relative_to(ROOT)} must not import {sorted(wrong)}"


@pytest.mark.parametrize("path", sources(), ids=lambda p: str(p.relative_to(ROOT)))
def test_nothing_heavy_at_the_top(path):
    name = path.relative_to(ROOT).as_posix()
    tree = at_the_top(ast.parse(path.read_text(encoding="utf-8")))
    names = set(imported(tree, path))
    wrong = {name.split(".")[0] for name in names} & HEAVY
    wrong |= {name for name in names if name.startswith("astropy.visualization")}
    wrong -= OWNERS.get(name, set())
    assert not wrong, f"{name} must import {sorted(wrong)} inside functions"


@pytest.mark.parametrize("name", ["core.py", "answers.py", "queries.py"])
def test_core_leaves_the_heavy_work_to_others(name):
    path = ROOT / name
    names = imported(ast.parse(path.read_text(encoding="utf-8")), path)
    assert not {name.split(".")[0] for name in names} & HEAVY


@pytest.mark.parametrize(
    "path",
    [path for path in sources() if path.name != "cli.py"],
    ids=lambda p: str(p.relative_to(ROOT)),
)
def test_libraries_leave_the_process_alone(path):
    """No printing, no logging set-up, no environment, no global random state."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        assert not isinstance(node, ast.Assert), f"assert in line {node.lineno}"
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            forbidden = {"print", "logging.basicConfig", "os.putenv", "np.random.seed"}
            forbidden |= {"random.seed", "torch.manual_seed", "os.environ.update"}
            forbidden |= {"os.environ.setdefault", "warnings.filterwarnings"}
            assert called not in forbidden, f"{called} in line {node.lineno}"
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store):
            target = ast.unparse(node.value)
            assert target != "os.environ", f"os.environ in line {node.lineno}"


@pytest.mark.parametrize(
    ("statement", "loaded"),
    [
        ("import paperclip; paperclip.conf.model", set()),
        ("from paperclip import Paperclip; repr(Paperclip)", set()),
        ("import paperclip.imaging, paperclip.models", set()),
        ("import paperclip.plotting, paperclip.vocabulary", set()),
        ("import paperclip.cli", set()),
        ("import paperclip.index", {"pyarrow"}),
    ],
)
def test_import_loads_nothing_heavy(statement, loaded):
    code = f"import sys; {statement}; print(*sys.modules)"
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert out.returncode == 0, out.stderr
    assert HEAVY & set(out.stdout.split()) <= loaded
