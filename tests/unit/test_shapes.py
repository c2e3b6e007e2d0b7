"""What the API takes: variables and image names that would do harm further on are refused."""

import pytest

from drc.api.shapes import check_env, check_image
from drc.errors import BadInput


@pytest.mark.parametrize(
    "env",
    [
        {},
        {"A": ""},
        {"_x1": "a b = c"},
        {"WANDB_MODE": "offline"},
        {"X": "ü" * 100},
        {"PATH": "/x"},
    ],
)
def test_ordinary_variables_pass(env: dict[str, str]) -> None:
    assert check_env(env) == env


@pytest.mark.parametrize(
    ("env", "problem"),
    [
        ({"": "x"}, "not the name of a variable"),
        ({"1A": "x"}, "not the name of a variable"),
        ({"A-B": "x"}, "not the name of a variable"),
        ({"A B": "x"}, "not the name of a variable"),
        ({"A=B": "x"}, "not the name of a variable"),
        ({"Ä": "x"}, "not the name of a variable"),
        ({"A\n": "x"}, "not the name of a variable"),
        ({"NVIDIA_VISIBLE_DEVICES": "all"}, "NVIDIA_VISIBLE_DEVICES is set by drc"),
        ({"NVIDIA_DRIVER_CAPABILITIES": "all"}, "is set by drc"),
        ({"CUDA_VISIBLE_DEVICES": "0"}, "is set by drc"),
        ({"DRC_VESSEL": "other"}, "is set by drc"),
        ({"LD_PRELOAD": "/tmp/x.so"}, "is set by drc"),
        ({"HOME": "/root"}, "is set by drc"),
        ({"A": "one\ntwo"}, "A has a line break"),
        ({"A": "one\rtwo"}, "A has a line break"),
        ({"A": "one\0two"}, "A has a line break"),
        ({"A": "x" * 32_768}, "larger than 32 KiB"),
        ({f"A{n}": "x" * 1000 for n in range(40)}, "larger than 32 KiB"),
    ],
)
def test_a_variable_that_does_harm_is_refused(env: dict[str, str], problem: str) -> None:
    with pytest.raises(BadInput, match=problem):
        check_env(env)


@pytest.mark.parametrize(
    "image",
    [
        "drc/vessel:0.1.0",
        "debian",
        "localhost:5000/a/b:c",
        "Registry.example:5000/my-team/py_torch/x--y:V1.2-rc",
        "a:1@sha256:" + "0" * 64,
        "sha256:" + "0" * 64,
        "x" * 255,
    ],
)
def test_an_image_has_a_name(image: str) -> None:
    assert check_image(image) == image


@pytest.mark.parametrize(
    "image",
    [
        *("", "-v", "--privileged", "/etc", "a b", "a\n", "a;b", "Ä", "x" * 256, "a$(b)", "A"),
        # the engine's API has other pages under such names
        *("a/../../containers", "a/..", "a/./b", "a//b", "a/", "..", "a%2f..", "a?b", "a#b"),
        *("a:b:c", "a:", "a@sha256:abc", "a@sha256:", "a@b", "a:-b", "a--", "a/-b"),
    ],
)
def test_what_is_no_name_of_an_image_is_refused(image: str) -> None:
    with pytest.raises(BadInput, match="not the name of an image"):
        check_image(image)
