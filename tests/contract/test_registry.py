from __future__ import annotations

import pytest

from nas360.errors import UnknownNameError, UserError
from nas360.registry import Registry


@pytest.fixture
def registry() -> Registry[object]:
    return Registry("thing", {"first": "collections:OrderedDict", "second": "no_such_module:thing"})


def test_it_is_a_mapping_in_the_order_of_definition(registry: Registry[object]) -> None:
    assert list(registry) == ["first", "second"]
    assert len(registry) == 2
    assert registry["first"].__class__ is type


def test_asking_for_a_name_does_not_import_it(registry: Registry[object]) -> None:
    assert "second" in registry
    assert "third" not in registry


def test_an_unknown_name_is_answered_with_the_nearest(registry: Registry[object]) -> None:
    with pytest.raises(UnknownNameError, match=r"unknown thing 'Frist'. Did you mean 'first'\? Known: first, second"):
        registry["Frist"]
    assert issubclass(UnknownNameError, UserError)


def test_get_has_a_default_like_every_mapping(registry: Registry[object]) -> None:
    assert registry.get("nothing") is None
