from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas360.errors import UnknownNameError, UserError
from nas360.registry import Registry, did_you_mean, nearest


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


@given(st.text(), st.lists(st.text()))
def test_the_nearest_is_one_of_the_names_or_none(name: str, names: list[str]) -> None:
    found = nearest(name, names)
    assert found is None or found in names
    assert did_you_mean(name, names) == ("" if found is None else f" Did you mean {found!r}?")


@given(st.lists(st.text("abcdefgh_", min_size=3), min_size=1, unique=True))
def test_a_known_name_is_nearest_to_itself_in_any_case(names: list[str]) -> None:
    assert all(nearest(name.upper(), names) == name for name in names)
