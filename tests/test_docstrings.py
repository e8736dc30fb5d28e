"""Docstrings keep the form that the API pages parse: a summary, every argument, what comes back, an example."""

import ast
import importlib
import inspect
import re
import textwrap

import pytest

PUBLIC = ("equivariant", "equivariant.catalogue", "equivariant.compare", "discover", "tasks.two_body",
          "tasks.top_tagging")  # fmt: skip


def public():
    """Every public function and class, once, with the module that exports it."""
    seen = {}
    for module in map(importlib.import_module, PUBLIC):
        for name in module.__all__:
            thing = getattr(module, name)
            if (inspect.isfunction(thing) or inspect.isclass(thing)) and thing not in seen.values():
                seen[f"{module.__name__}.{name}"] = thing
    return seen


THINGS = public()


def arguments(thing):
    """Names of the arguments a caller gives."""
    return [
        name for name in inspect.signature(thing).parameters if name not in ("self", "cls", "args", "kwargs")
    ]


def documented(text):
    """Names that start a line below ``Args:``."""
    section = re.search(r"^Args:\n(.*?)(?=^\S|\Z)", text, flags=re.MULTILINE | re.DOTALL)
    lines = section.group(1).splitlines() if section else []
    return [
        match.group(1) for line in lines if (match := re.match(r"    \*{0,2}(\w+)(?: \([^)]*\))?:", line))
    ]


def raises(function):
    """Whether the function's own body raises."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    return any(isinstance(node, ast.Raise) and node.exc is not None for node in ast.walk(tree))


@pytest.fixture(params=THINGS.values(), ids=THINGS.keys())
def thing(request):
    return request.param


def test_every_argument_has_a_line_of_its_own(thing):
    missing = set(arguments(thing)) - set(documented(inspect.getdoc(thing) or ""))
    assert not missing


def test_there_is_an_example(thing):
    text = inspect.getdoc(thing) or ""
    assert re.search(r"^Example", text, flags=re.MULTILINE)
    assert ">>>" in text


def test_functions_say_what_they_return_and_raise(thing):
    if not inspect.isfunction(thing):
        pytest.skip("a class")
    text = inspect.getdoc(thing) or ""
    if inspect.signature(thing).return_annotation not in (None, "None"):
        assert "Returns:" in text or "Yields:" in text
    if raises(thing):
        assert "Raises:" in text


def test_public_methods_are_described(thing):
    if not inspect.isclass(thing):
        pytest.skip("a function")
    mine = {name: value for name, value in vars(thing).items() if inspect.isfunction(value)}
    own = [n for n, value in mine.items() if not n.startswith("_") and value.__module__ == thing.__module__]
    assert not [name for name in own if not inspect.getdoc(getattr(thing, name))]


def test_a_planted_gap_is_seen():
    def f(x, y):
        """Adds.

        Args:
            x: a number.
        """
        return x + y

    assert set(arguments(f)) - set(documented(inspect.getdoc(f))) == {"y"}
