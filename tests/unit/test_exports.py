"""The public face: what is named is there, what is there is documented, what is shown runs."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
from types import ModuleType

import pytest

import rackrate

FOUND = [module.name for module in pkgutil.walk_packages(rackrate.__path__, "rackrate.")]
MODULES = ["rackrate", *sorted(name for name in FOUND if not name.endswith("__main__"))]


def test_all_is_what_can_be_imported_in_order() -> None:
    assert rackrate.__all__ == sorted(rackrate.__all__) == dir(rackrate)
    assert all(getattr(rackrate, name) is not None for name in rackrate.__all__)
    assert set(rackrate.__all__) == set(rackrate._WHERE)


def test_what_a_task_needs_of_a_fleet_is_loaded_when_it_is_named() -> None:
    from rackrate import fleet  # noqa: PLC0415 - an extra

    assert fleet.__all__ == sorted(fleet.__all__) == dir(fleet)
    assert {getattr(fleet, name).__module__ for name in fleet.__all__} == set(fleet._WHERE.values())
    with pytest.raises(AttributeError, match="has no attribute 'reports'"):
        _ = fleet.reports


@pytest.mark.parametrize("name", rackrate.__all__)
def test_every_public_name_says_what_it_is_and_what_it_takes(name: str) -> None:
    thing = getattr(rackrate, name)
    assert inspect.getdoc(thing)
    if inspect.isfunction(thing):
        signature = inspect.signature(thing)
        assert signature.return_annotation is not inspect.Signature.empty
        said = inspect.getdoc(thing) or ""
        if len(signature.parameters) > 4:
            assert all(f"{parameter}:" in said for parameter in signature.parameters)


def test_an_unknown_name_is_an_attribute_error_that_names_it() -> None:
    with pytest.raises(AttributeError, match="module 'rackrate' has no attribute 'prices'"):
        _ = rackrate.prices
    with pytest.raises(ImportError):
        exec("from rackrate import nothing_of_the_kind")  # noqa: S102


def test_the_type_checker_and_the_loader_name_the_same_things() -> None:
    source = inspect.getsource(rackrate)
    typed = source.partition("if TYPE_CHECKING:")[2].partition("_WHERE")[0]
    assert all(f"{name}" in typed for name in rackrate.__all__)


@pytest.mark.parametrize("name", MODULES)
def test_every_example_of_a_docstring_runs(name: str) -> None:
    module: ModuleType = importlib.import_module(name)
    result = doctest.testmod(module, optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert result.failed == 0


def test_there_are_examples_to_run() -> None:
    finder = doctest.DocTestFinder(exclude_empty=True)
    modules = [importlib.import_module(name) for name in MODULES]
    assert sum(bool(test.examples) for module in modules for test in finder.find(module)) >= 10


def test_the_package_is_marked_as_typed() -> None:
    from importlib.resources import files  # noqa: PLC0415

    assert (files("rackrate") / "py.typed").is_file()
