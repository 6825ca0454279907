"""Counts of what makes the package hard to read stay at or below their bounds, which are in `scripts/counts.toml`."""

from __future__ import annotations

import ast
import importlib.util
from types import ModuleType

import pytest
import readme


def _script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("counts", readme.ROOT / "scripts" / "counts.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


counts = _script()


def test_no_count_is_above_its_bound() -> None:
    present, bounds = counts.count(), counts.read_bounds()
    assert present.keys() == bounds.keys()
    above = {name: f"{number}, at most {bounds[name]}" for name, number in present.items() if number > bounds[name]}
    assert not above, "python scripts/counts.py shows the counts; the bounds only go down"


def test_a_task_is_counted_by_its_text_and_by_a_constant() -> None:
    text = 'LABELS = "text-classification"\nif a == "text-generation" or b in (LABELS, 1): ...\nif c == "text": ...'
    assert counts._task_comparisons({"edgedistill.a": ast.parse(text)}) == 2
    assert counts._task_comparisons({"edgedistill.tasks.a": ast.parse(text)}) == 0


def test_branches_on_the_sort_of_model_are_counted_outside_its_home() -> None:
    tree = ast.parse("if is_decoder: ...\nx = 1 if a.task == 'text-generation' else 2\n[y for y in z if y]")
    assert counts._family_branches({"edgedistill.a": tree, "edgedistill.supernet.b": tree}) == 2


@pytest.mark.parametrize(
    "back",
    ["import edgedistill.cli", "def f():\n    from edgedistill import cli", "if TYPE_CHECKING:\n    from . import cli"],
)
def test_a_circle_is_counted_wherever_the_import_stands(back: str) -> None:
    trees = {
        "edgedistill.cli": ast.parse("from edgedistill.recipe import Recipe"),
        "edgedistill.recipe": ast.parse(back),
        "edgedistill.errors": ast.parse(""),
    }
    assert counts._modules_in_circles(trees) == 2
    assert counts._modules_in_circles(trees | {"edgedistill.recipe": ast.parse("import edgedistill.errors")}) == 0


def test_names_that_say_nothing_are_counted_where_they_are_given() -> None:
    tree = ast.parse("def f(of, *, size): found = of\nfor told in x: ...\nprint(kept)")
    assert counts._vague_variables(tree) == 3
    assert counts._used_twice(["a", "b", "a", "c", "c"]) == 2


def test_sentences_are_split_as_a_reader_does() -> None:
    page = (
        "# A head of four words\n\nOne two three four: five six seven eight. \n\n- a b c d\n- e f g h\n\n| a b c d |\n"
    )
    assert [len(words) for words in counts._sentences(page + "```sh\na b c d\n```\n")] == [4, 4, 4, 4]
