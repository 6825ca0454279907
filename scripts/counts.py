"""Count what makes the package and its documentation hard to read; print one JSON object.

Usage: python scripts/counts.py [--lower]

`scripts/counts.toml` holds the most that each count may be, and `tests/test_house.py` compares. With --lower the file
gets the present counts where they are lower; a bound is never raised.
"""

from __future__ import annotations

import argparse
import ast
import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["BOUNDS", "ROOT", "count", "read_bounds"]

ROOT = Path(__file__).resolve().parent.parent
BOUNDS = ROOT / "scripts" / "counts.toml"
PACKAGE = "edgedistill"
TASKS = {
    "text-classification",
    "multi-label-classification",
    "text-regression",
    "token-classification",
    "sentence-embedding",
    "text-generation",
    "image-classification",
    "audio-classification",
}
VAGUE_NAMES = {"of", "found", "given", "asked", "told", "wanted", "kept", "known", "one"}
LONG_SENTENCE, VERY_LONG_SENTENCE = 25, 30
_FRAGMENT = re.compile(r"(Of|By|As|Those|What|Whether|With|Where|None)\b")
_IS_NO = re.compile(r"\b(?:is|are) no [a-z]")


def count() -> dict[str, int]:
    """Return every count of this checkout, by name."""
    trees = {_module_name(path): ast.parse(path.read_bytes()) for path in sorted((ROOT / PACKAGE).rglob("*.py"))}
    sentences = [len(words) for page in _pages() for words in _sentences(page.read_text(encoding="utf-8"))]
    return {
        "task_comparisons_outside_tasks": _task_comparisons(trees),
        "encoder_or_decoder_branches": _family_branches(trees),
        "modules_in_import_circles": _modules_in_circles(trees),
        "module_names_used_twice": _used_twice(name.rpartition(".")[2] for name in trees if not _is_package(name)),
        "public_classes_of_one_name": _used_twice(_public_classes(trees.values())),
        "vague_variables": sum(_vague_variables(tree) for tree in trees.values()),
        "fragment_docstrings": sum(bool(_FRAGMENT.match(text)) for text in _docstrings(trees.values())),
        "docstrings_against_d401": _findings_of_ruff("D401"),
        "is_no_in_texts": sum(len(_IS_NO.findall(text)) for tree in trees.values() for text in _strings(tree)),
        "functions_over_40_lines": sum(_lines(node) > 40 for tree in trees.values() for node in _functions(tree)),
        "sentences_over_25_words": sum(words > LONG_SENTENCE for words in sentences),
        "sentences_over_30_words": sum(words > VERY_LONG_SENTENCE for words in sentences),
    }


def read_bounds() -> dict[str, int]:
    """Return the most that each count may be."""
    return {name: int(most) for name, most in tomllib.loads(BOUNDS.read_text(encoding="utf-8")).items()}


def _module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _is_package(module: str) -> bool:
    return (ROOT / module.replace(".", "/")).is_dir() or module.endswith(".__main__")


# Tasks, and the two sorts of model


def _task_comparisons(trees: dict[str, ast.Module]) -> int:
    """Count comparisons and cases, outside tasks/, that name a task by its text or by a constant for that text."""
    names = TASKS | {name for tree in trees.values() for name in _task_constants(tree)}
    return sum(
        any(word in names for word in _words(node))
        for module, tree in trees.items()
        if not module.startswith(f"{PACKAGE}.tasks")
        for node in ast.walk(tree)
        if isinstance(node, (ast.Compare, ast.MatchValue))
    )


def _task_constants(tree: ast.Module) -> Iterator[str]:
    for node in tree.body:
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and isinstance(node.value, ast.Constant):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if node.value.value in TASKS:
                yield from (target.id for target in targets if isinstance(target, ast.Name))


def _family_branches(trees: dict[str, ast.Module]) -> int:
    """Count conditions on encoder or decoder, outside supernet/ and the modules of exporters/ that write graphs."""
    return sum(
        _mentions_family(condition)
        for module, tree in trees.items()
        if not module.startswith(f"{PACKAGE}.supernet")
        and not (module.startswith(f"{PACKAGE}.exporters") and "graph" in module)
        for condition in _conditions(tree)
    )


def _conditions(tree: ast.Module) -> Iterator[ast.expr]:
    for node in ast.walk(tree):
        if isinstance(node, (ast.If, ast.IfExp, ast.While, ast.Assert)):
            yield node.test
        elif isinstance(node, ast.comprehension):
            yield from node.ifs
        elif isinstance(node, ast.Match):
            yield node.subject


def _mentions_family(condition: ast.expr) -> bool:
    return any(re.search("encoder|decoder|generat|causal", text, re.IGNORECASE) for text in _words(condition))


def _words(node: ast.AST) -> Iterator[str]:
    """Yield the names, attributes and strings of an expression."""
    for part in ast.walk(node):
        if isinstance(part, ast.Name):
            yield part.id
        elif isinstance(part, ast.Attribute):
            yield part.attr
        elif isinstance(part, ast.Constant) and isinstance(part.value, str):
            yield part.value


# Imports


def _modules_in_circles(trees: dict[str, ast.Module]) -> int:
    """Count modules that import themselves by way of others; imports in functions and for type checking count."""
    imports = {module: _imported(module, tree, trees) for module, tree in trees.items()}
    return sum(module in _reached(imports, module) for module in imports)


def _imported(module: str, tree: ast.Module, trees: dict[str, ast.Module]) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _base(module, node)
            submodules = {f"{base}.{alias.name}" for alias in node.names}
            names.update(name if name in trees else base for name in submodules)
    return {name for name in names if name in trees and name != module}


def _base(module: str, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    package = module if _is_package(module) else module.rpartition(".")[0]
    parts = package.split(".")
    return ".".join([*parts[: len(parts) - node.level + 1], *([node.module] if node.module else [])])


def _reached(imports: dict[str, set[str]], start: str) -> set[str]:
    reached: set[str] = set()
    waiting = list(imports[start])
    while waiting:
        module = waiting.pop()
        if module not in reached:
            reached.add(module)
            waiting.extend(imports[module])
    return reached


# Names


def _used_twice(names: Iterable[str]) -> int:
    return sum(times > 1 for times in Counter(names).values())


def _public_classes(trees: Iterable[ast.Module]) -> Iterator[str]:
    for tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                yield node.name


def _vague_variables(tree: ast.Module) -> int:
    """Count assignments to, and parameters of, a name that says nothing."""
    return sum(
        (isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node.id in VAGUE_NAMES)
        or (isinstance(node, ast.arg) and node.arg in VAGUE_NAMES)
        for node in ast.walk(tree)
    )


# Texts


def _docstrings(trees: Iterable[ast.Module]) -> Iterator[str]:
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, kinds) and (text := ast.get_docstring(node)):
                yield text


def _strings(tree: ast.Module) -> Iterator[str]:
    """Yield every string of the code: messages, helps and docstrings; comments are none."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def _findings_of_ruff(rule: str) -> int:
    command = [sys.executable, "-m", "ruff", "check", "--isolated", "--select", rule]
    command += ["--output-format", "json", "--exit-zero"]  # isolated: exceptions of the settings count as well
    done = subprocess.run([*command, PACKAGE], cwd=ROOT, capture_output=True, check=True)
    return len(json.loads(done.stdout))


def _functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node


def _lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return how many lines a function's body has, its docstring left out."""
    body = node.body[1:] if ast.get_docstring(node) else node.body
    return (node.end_lineno or 0) - body[0].lineno + 1 if body else 0


def _pages() -> list[Path]:
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def _sentences(text: str) -> Iterator[list[str]]:
    """Yield the words of each sentence of a page, without code, tables, headings and list marks.

    A blank line, a list item and a colon end a sentence too.
    """
    text = re.sub(r"```.*?```|<!--.*?-->", "\n\n", text, flags=re.DOTALL)
    lines = [line for line in text.splitlines() if not line.lstrip().startswith(("|", "#", "<", "!"))]
    text = re.sub(r"^\s*(?:[-*]|\d+\.) ", "\n\n", "\n".join(lines), flags=re.MULTILINE)
    for paragraph in re.split(r"\n\s*\n", text):
        for sentence in re.split(r"(?<=[.!?:])\s+", paragraph.strip()):
            if len(words := sentence.split()) >= 4:
                yield words


def _lower_bounds(counts: dict[str, int]) -> None:
    """Write the present counts in place of bounds that are higher."""
    text = BOUNDS.read_text(encoding="utf-8")
    for name, most in read_bounds().items():
        if name in counts and counts[name] < most:
            text = re.sub(rf"^{name} = \d+", f"{name} = {counts[name]}", text, flags=re.MULTILINE)
    BOUNDS.write_text(text, encoding="utf-8")


def main() -> None:
    """Print the counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lower", action="store_true", help="lower the bounds to the present counts")
    options = parser.parse_args()
    counts = count()
    if options.lower:
        _lower_bounds(counts)
    sys.stdout.write(json.dumps(counts, indent=2) + "\n")


if __name__ == "__main__":
    main()
