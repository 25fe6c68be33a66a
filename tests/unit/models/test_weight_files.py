"""Files of weights that change while a model runs: nothing of them reaches an answer or the store."""

from __future__ import annotations

import inspect
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from reasoning_probe.models import loading, weights
from reasoning_probe.models.errors import ModelError
from reasoning_probe.models.weight_files import WeightFiles
from reasoning_probe.session.session import ProbeSession
from reasoning_probe.session.settings import Settings
from tests.helpers.planted_model import COLOUR_PROBE, COLOURS
from tests.helpers.project import Project

OVERWRITE = """
import os
from pathlib import Path

import pytest

@pytest.hookimpl(tryfirst=True)
def pytest_reasoning_probe_judge(item, response, truncated):
    file = Path(os.environ["WEIGHTS"])
    size = file.stat().st_size
    with file.open("r+b") as weights:
        {change}
"""
NOISE = "weights.seek(size // 2); weights.write(os.urandom(size - size // 2))"
CUT = "weights.truncate(100)"


def test_no_weight_is_a_mapping_of_its_file(planted_folder: Path, tmp_path: Path) -> None:
    """Writing over the file in place changes no weight, and cutting it ends no process."""
    folder = tmp_path / "model"
    shutil.copytree(planted_folder, folder)
    loaded = loading.load_model(loading.resolve_model(str(folder)))
    before = weights.fingerprint(loaded.model)
    with (folder / "model.safetensors").open("r+b") as file:
        file.write(b"\xff" * (folder / "model.safetensors").stat().st_size)
        file.flush()
        assert weights.fingerprint(loaded.model) == before
        file.truncate(10)
    assert weights.fingerprint(loaded.model) == before
    loaded.model(input_ids=torch.tensor([[1, 2, 3]]))


def test_tied_weights_stay_tied(planted_folder: Path) -> None:
    model = loading.load_model(loading.resolve_model(str(planted_folder))).model
    tied = model.config.tie_word_embeddings
    same = model.get_input_embeddings().weight.data_ptr() == model.get_output_embeddings().weight.data_ptr()
    assert same == tied


@pytest.mark.parametrize("change", [NOISE, CUT], ids=["noise", "cut"])
def test_a_file_written_over_while_a_session_runs_changes_no_outcome(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(project.model, folder)
    project.write("colours.jsonl", COLOURS)
    project.write("test_colours.py", COLOUR_PROBE)
    project.run("--probe-heads=L1H2", "--probe-cache=off")
    clean = [outcome["response"] for outcome in project.outcomes()]
    monkeypatch.setenv("WEIGHTS", str(folder / "model.safetensors"))
    project.write("conftest.py", OVERWRITE.format(change=change))
    changing = replace(project, model=folder)
    changing.run("--probe-heads=L1H2")
    assert [outcome["response"] for outcome in project.outcomes()] == clean
    project.path.joinpath("conftest.py").unlink()
    project.run("--probe-heads=L1H2")  # recalls what was stored under the good weights
    assert project.summary()["engine"]["recalled"] == len(clean)
    assert [outcome["response"] for outcome in project.outcomes()] == clean


def test_small_files_are_read_and_not_mapped(
    planted_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is cut while it is mapped would end the process."""
    modeling = pytest.importorskip("transformers.modeling_utils")
    if "disable_mmap" not in inspect.signature(modeling.PreTrainedModel.from_pretrained).parameters:
        pytest.skip("this version of transformers can only map files")
    maps = []
    build = modeling.convert_and_load_state_dict_in_model

    def look(**values: Any) -> Any:
        maps.append(Path("/proc/self/maps").read_text(encoding="utf-8"))
        return build(**values)

    folder = Path(shutil.copytree(planted_folder, tmp_path / "model"))
    monkeypatch.setattr(modeling, "convert_and_load_state_dict_in_model", look)
    loading.load_model(loading.resolve_model(str(folder)))
    assert maps
    assert str(folder) not in maps[0]


def test_weights_that_change_while_they_are_loaded(
    planted_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(planted_folder, tmp_path / "model"))
    load = loading.load_model

    def load_slowly(*args: Any, **options: Any) -> loading.LoadedModel:
        model = load(*args, **options)
        with (folder / "model.safetensors").open("r+b") as file:
            file.truncate(10)
        return model

    monkeypatch.setattr(loading, "load_model", load_slowly)
    settings = Settings(model=str(folder))
    with pytest.raises(ModelError, match=r"model\.safetensors changed while it was loaded: run the same command again"):
        ProbeSession(settings).model_runner.load()


def test_a_file_that_is_read_in_every_pass_is_watched(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file({"a": torch.zeros(8)}, path)
    files = WeightFiles(tmp_path)
    files.check()
    (tmp_path / "notes.txt").write_text("not a weight", encoding="utf-8")
    files.check()
    save_file({"a": load_file(path)["a"] + 1}, path)
    with pytest.raises(ModelError, match=r"model\.safetensors changed while its weights were in use: .* are dropped"):
        files.check()
    files = WeightFiles(tmp_path)
    path.unlink()
    with pytest.raises(ModelError, match="changed while"):
        files.check()
