import os

import pytest

from catalog.active_model import clear_active_model, read_active_model, write_active_model
from catalog.errors import ConfigurationError, StorageError


@pytest.fixture
def home(tmp_path):
    (tmp_path / "state").mkdir()
    return str(tmp_path)


def test_a_model_is_in_force_until_it_is_cleared(home):
    assert read_active_model(home) is None
    for name in ("main:standby", "другой"):
        write_active_model(home, name)
        assert read_active_model(home) == name
    assert clear_active_model(home)
    assert read_active_model(home) is None
    assert not clear_active_model(home)


@pytest.mark.parametrize("content", [b"", b"\n", b"two\nlines\n", b"\xff\n", b"\0"])
def test_a_file_that_names_no_model_is_refused_with_the_way_out(home, content):
    with open(f"{home}/state/active-model", "wb") as file:
        file.write(content)
    with pytest.raises(ConfigurationError) as caught:
        read_active_model(home)
    assert "active-model" in str(caught.value) and "--reset" in caught.value.hint


def test_what_cannot_be_read_or_written_is_not_taken_for_no_model(home):
    os.makedirs(f"{home}/state/active-model/in the way")
    for use in (read_active_model, lambda home: write_active_model(home, "a"), clear_active_model):
        with pytest.raises(StorageError):
            use(home)
