"""constraints.txt pins everything that pyproject.toml leads to, and names nobody's machine or package index."""

import pytest
from packaging.requirements import Requirement

from tools import lock

TEXT = lock.LOCK.read_text(encoding="utf-8")


def test_every_requirement_and_everything_installed_for_it_is_pinned() -> None:
    assert lock.problems(TEXT, lock.installed_closure()) == []


def test_the_closure_goes_past_the_direct_requirements() -> None:
    closure = lock.installed_closure()
    assert {"torch", "sympy", "mpmath", "markupsafe", "pyzmq", "httpx"} <= set(
        closure
    )  # torch, jinja2, jupyter need them
    assert "+" not in closure["torch"]


@pytest.mark.parametrize("name", ["torch", "mpmath"])
def test_a_missing_pin_is_named(name: str) -> None:
    closure = lock.installed_closure()
    without = "\n".join(line for line in TEXT.splitlines() if not line.startswith(f"{name}=="))
    assert f"{name}=={closure[name]} is installed and has no pin" in lock.problems(without, closure)


def test_a_pin_outside_of_its_range_or_unlike_what_is_installed_is_named() -> None:
    other = "\n".join("torch==9.9.0" if line.startswith("torch==") else line for line in TEXT.splitlines())
    wrong = lock.problems(other, {"torch": "2.13.0"})
    assert any(line.startswith("torch==9.9.0 lies outside of") for line in wrong)
    assert "torch==2.13.0 is installed, pinned is 9.9.0" in wrong


@pytest.mark.parametrize(
    "line",
    [
        "--index-url https://example.org/simple",
        "torch @ file:///wheels/torch.whl",
        "torch>=2.6",
        "/wheels/torch.whl",
        "torch==2.13.0 # https://example.org/simple",
    ],
)
def test_an_address_a_path_and_a_range_are_refused(line: str) -> None:
    assert f"not a plain pin: {line}" in lock.problems(f"{TEXT}{line}\n", {})


def test_other_systems_and_pythons_are_covered() -> None:
    pins = [Requirement(line) for line in TEXT.splitlines() if not line.startswith("#")]
    names = {pin.name for pin in pins}
    assert {"pywinpty", "colorama"} <= names, "Windows"
    assert {"appnope"} <= names, "macOS"
    for python in ("3.11", "3.12", "3.13"):
        for system, platform in (("posix", "linux"), ("posix", "darwin"), ("nt", "win32")):
            here = {
                "python_version": python,
                "python_full_version": f"{python}.9",
                "os_name": system,
                "sys_platform": platform,
            }
            kept = [pin.name for pin in pins if pin.marker is None or pin.marker.evaluate(here)]
            assert len(kept) == len(set(kept)), (python, platform)


def test_markers_and_extras_are_honoured() -> None:
    assert lock.applies(Requirement("one"))
    assert not lock.applies(Requirement('one; python_version < "3"'))
    assert not lock.applies(Requirement('one; extra == "two"'))
    assert lock.applies(Requirement('one; extra == "two"'), frozenset({"two"}))
