import pickle

import pytest

from catalog.value import Value


class Pair(Value):
    __slots__ = ("first", "second")
    second: int
    first: int

    def __init__(self, second: int, first: int) -> None:
        self._set(second, first)


def test_values_are_equal_when_class_and_fields_are():
    assert Pair(1, 2) == Pair(1, 2)
    assert Pair(1, 2) != Pair(2, 1)
    assert Pair(1, 2) != (1, 2)
    assert len({Pair(1, 2), Pair(1, 2)}) == 1


def test_a_value_prints_its_fields_in_the_order_of_its_constructor():
    assert repr(Pair(1, 2)) == "Pair(second=1, first=2)"


def test_a_value_survives_pickling_and_cannot_be_changed():
    pair = pickle.loads(pickle.dumps(Pair(1, 2)))
    assert (pair.second, pair.first) == (1, 2)
    with pytest.raises(AttributeError):
        pair.first = 3
