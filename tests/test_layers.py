"""The house rules that a machine can check: layers, cycles, sizes, and what is not in a package."""

from __future__ import annotations

import ast
import graphlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import torchlogreg

ROOT = Path(torchlogreg.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))

# A module may import from its own layer and those above it, never from one below.
LAYERS: list[str] = [
    "columns compressed cumulative data datasets distributed "
    "disk double_double double_double_functions few_rows finite formulas headings history "
    "log_determinant losses meter pages parquet penalties readers sample_weights sparse "
    "hard_labels sparse_inputs targets tensors threads untrusted whole_files",
    "analytic audit autograd_pass base closed_form combinators configuration export "
    "models saving units weighting",
    "class_curvature curvature design gram inputs jeffreys kernels levels moments names objective "
    "one_class passes remembered response scaling small small_classes small_compiled",
    "optim",
    "checkpoints convergence diagnostics first_look fit inference reweighting settings shown "
    "state viz",
    "hooks",
    "estimators",
    "compat",
]
LAYER = {name: level for level, names in enumerate(LAYERS) for name in names.split()}


def name_of(path: Path) -> str:
    """Dotted name below the package, '' for the package itself."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): ast.parse(path.read_text(), str(path)) for path in FILES}


def type_checking_only(tree: ast.Module) -> set[ast.AST]:
    """Nodes under ``if TYPE_CHECKING:``."""
    guarded = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
    ]
    return {inner for node in guarded for statement in node.body for inner in ast.walk(statement)}


def imports(name: str) -> Iterator[str]:
    """Modules of the package that the module called ``name`` imports, at any depth of its code."""
    tree = MODULES[name]
    skipped = type_checking_only(tree)
    for node in ast.walk(tree):
        if node in skipped:
            continue
        found = []
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found = [f"{node.module}.{alias.name}" for alias in node.names]
        for dotted in found:
            if dotted.split(".")[0] == "torchlogreg":
                yield longest_module(dotted.removeprefix("torchlogreg").lstrip("."))


def longest_module(dotted: str) -> str:
    """The module that ``dotted`` is, or is a name in."""
    while dotted and dotted not in MODULES:
        dotted = dotted.rpartition(".")[0]
    return dotted


def functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """All functions and methods."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines from the first statement after the docstring to the last."""
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return 0 if not body else (body[-1].end_lineno or 0) - body[0].lineno + 1


@pytest.mark.parametrize("name", [name for name in MODULES if name])
def test_imports_point_upward(name: str) -> None:
    top = name.split(".")[0]
    assert top in LAYER, f"give {top} a layer in tests/test_layers.py and in design.md"
    below = {
        target for target in imports(name) if not target or LAYER[target.split(".")[0]] > LAYER[top]
    }
    assert below == set(), f"{name} (layer {LAYER[top]}) imports from below"


def test_there_are_no_cycles() -> None:
    # Importing a name through a package runs the package: its __init__ is a dependency too.
    graph = {
        name: {target for target in imports(name) if target != name} for name in MODULES if name
    }
    order = list(graphlib.TopologicalSorter(graph).static_order())  # raises CycleError
    assert set(order) >= set(graph)


@pytest.mark.parametrize("name", MODULES)
def test_a_file_is_at_most_300_lines(name: str) -> None:
    path = next(path for path in FILES if name_of(path) == name)
    assert len(path.read_text().splitlines()) <= 300


@pytest.mark.parametrize("name", MODULES)
def test_a_function_is_at_most_40_lines(name: str) -> None:
    long = {f.name: body_lines(f) for f in functions(MODULES[name]) if body_lines(f) > 40}
    assert long == {}


@pytest.mark.parametrize("name", MODULES)
def test_a_module_neither_prints_nor_asserts(name: str) -> None:
    tree = MODULES[name]
    prints = [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "print"
    ]
    asserts = [node.lineno for node in ast.walk(tree) if isinstance(node, ast.Assert)]
    assert prints == [] and asserts == []


@pytest.mark.parametrize("name", MODULES)
def test_a_module_has_no_star_import_and_no_relative_one(name: str) -> None:
    found = [node for node in ast.walk(MODULES[name]) if isinstance(node, ast.ImportFrom)]
    assert all(alias.name != "*" for node in found for alias in node.names)
    assert all(node.level == 0 for node in found)


@pytest.mark.parametrize("name", MODULES)
def test_public_functions_take_no_kwargs(name: str) -> None:
    loose = [
        f.name for f in functions(MODULES[name]) if f.args.kwarg and not f.name.startswith("_")
    ]
    # scikit-learn's own signatures, by which metadata reach a splitter and a scorer.
    assert loose == (["fit", "score"] if name == "compat.cross_validation" else [])


@pytest.mark.parametrize("name", MODULES)
def test_public_names_have_docstrings(name: str) -> None:
    tree = MODULES[name]
    public = [
        node
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
    ]
    assert ast.get_docstring(tree)
    assert [node.name for node in public if not ast.get_docstring(node)] == []


def sort_key(name: str) -> tuple[int, tuple[int | str, ...]]:
    """Ruff's order of __all__: CONSTANTS, then Classes, then functions; naturally within each."""
    kind = 0 if name.isupper() and len(name) > 1 else 1 if name[0].isupper() else 2
    pieces = [piece for piece in re.split(r"(\d+)", name) if piece]
    return kind, tuple(int(piece) if piece.isdigit() else piece for piece in pieces)


@pytest.mark.parametrize("name", MODULES)
def test_all_is_sorted_and_names_what_is_there(name: str) -> None:
    listed = [
        ast.literal_eval(node.value)
        for node in MODULES[name].body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    ]
    names = listed[0] if listed else []
    assert names == sorted(names, key=sort_key)
    module = __import__(f"torchlogreg.{name}".rstrip("."), fromlist=["_"]) if names else None
    assert all(hasattr(module, entry) for entry in names)


def test_importing_the_package_loads_no_heavy_library() -> None:
    # tqdm is not on the list: torch itself loads it where it is installed.
    heavy = ["matplotlib", "pandas", "scipy", "sklearn", "tensorboard", "pyarrow"]
    code = f"import sys, torchlogreg; print([m for m in {heavy} if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
