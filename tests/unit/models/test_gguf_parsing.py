"""A ``.gguf`` file is parsed once while its model is loaded, and anew for the next."""

from __future__ import annotations

from pathlib import Path

import gguf
import pytest

from reasoning_probe.models.files.gguf_parsing import parsed_once
from tests.helpers import gguf_file


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "model.gguf"
    path.write_bytes(gguf_file.gguf({"general.architecture": "llama"}))
    return path


def test_while_a_model_is_loaded_its_file_is_parsed_once(file: Path) -> None:
    with parsed_once(file.name):
        assert gguf.GGUFReader(str(file)) is gguf.GGUFReader(str(file))
        names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, 2)
        assert gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, 2) is names
        assert gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, 3) is not names


def test_a_file_that_is_written_anew_is_parsed_anew(file: Path) -> None:
    for architecture in ("llama", "qwen2"):
        file.write_bytes(gguf_file.gguf({"general.architecture": architecture}))
        with parsed_once(file.name):
            assert gguf.GGUFReader(str(file)).get_field("general.architecture").contents() == architecture


@pytest.mark.parametrize("name", ["model.gguf", None])
def test_afterwards_the_library_is_as_it_was(name: str | None) -> None:
    reader, names = gguf.GGUFReader, gguf.get_tensor_name_map
    with pytest.raises(ZeroDivisionError), parsed_once(name):
        raise ZeroDivisionError
    assert (gguf.GGUFReader, gguf.get_tensor_name_map) == (reader, names)
