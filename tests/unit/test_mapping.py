"""Who holds which GPU, as dcgm-exporter reads it from files."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from conductor.mapping import command, files


def row(index: int, vessel: str | None = None, **more: Any) -> dict[str, Any]:
    owner = "ada" if vessel else None
    return {"index": index, "parent": None, "instance": None, "vessel": vessel, "owner": owner,
            **more}  # fmt: skip


def test_each_gpu_has_a_file_and_that_of_a_free_one_is_empty() -> None:
    assert files([row(0, "bert"), row(1), row(7, "bert")]) == {
        "0": "ada/bert\n",
        "1": "",
        "7": "ada/bert\n",
    }


def test_a_slice_is_called_by_its_card_and_its_gpu_instance() -> None:
    """Its index is its card's, times a hundred, and which MIG device it is there."""
    cut = {"parent": "GPU-cut"}
    assert files([row(0), row(100, "bert", instance=9, **cut), row(1203, instance=13, **cut)]) == {
        "0": "",
        "1.9": "ada/bert\n",
        "12.13": "",
    }


def test_a_slice_whose_instance_nobody_knows_has_no_file() -> None:
    assert files([row(100, "bert", parent="GPU-cut")]) == {}


def run(folder: Path, wanted: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """By the shell, as over SSH."""
    return subprocess.run(["sh", "-c", command(str(folder), wanted)], capture_output=True,
                          text=True, cwd="/")  # fmt: skip


def texts(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


@pytest.mark.parametrize("name", ["jobs", "a folder", "it's", '"$(touch x)"', "-n", "ü;rm *"])
def test_the_shell_writes_the_files_whatever_the_folder_is_called(
    tmp_path: Path, name: str
) -> None:
    folder = tmp_path / "deep" / name
    wanted = {"0": "ada/bert\n", "1.9": "", "7": "bob/-n\n"}
    done = run(folder, wanted)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert texts(folder) == wanted
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o644}
    assert [path.name for path in tmp_path.iterdir()] == ["deep"]


def test_a_file_is_replaced_and_never_half_written(tmp_path: Path) -> None:
    run(tmp_path, {"0": "ada/bert\n", "1": "ada/bert\n"})
    with (tmp_path / "0").open() as being_read:
        run(tmp_path, {"0": ""})
        assert being_read.read() == "ada/bert\n"
    assert texts(tmp_path) == {"0": "", "1": "ada/bert\n"}


def test_what_goes_wrong_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = run(tmp_path / "file", {"0": ""})
    assert done.returncode != 0
    assert "file" in done.stdout  # the one stream that is read over SSH


def test_a_text_is_one_argument_however_it_is_spelled(tmp_path: Path) -> None:
    text = "a'b\"c$(id)`id`\\n%s\n"
    assert run(tmp_path, {"0": text}).returncode == 0
    assert texts(tmp_path) == {"0": text}
