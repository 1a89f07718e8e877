"""Images are recipes: which steps the SDK sends to the server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import inrush
from inrush import errors
from inrush.core.images import layers
from inrush.version import PYTHON
from inrush.wire import Recipe


def parameters(image: inrush.Image) -> list[tuple[str, dict[str, Any]]]:
    """The image's steps, checked as the builder checks them."""
    steps = image.definition().recipe.steps
    assert [layers.parameters(step) for step in steps], "the builder refuses them"
    return [(step.kind, json.loads(step.args[0])) for step in steps]


def test_the_host_is_an_empty_recipe() -> None:
    assert inrush.Image.host().definition().recipe == Recipe()


def test_debian_takes_the_programs_own_python_or_another() -> None:
    assert inrush.Image.debian_slim().definition().recipe == Recipe(base="debian_slim", python=PYTHON)
    assert inrush.Image.debian_slim("3.13").definition().recipe.python == "3.13"
    assert inrush.Image.debian_slim("3.12.4").definition().recipe.python == "3.12"
    with pytest.raises(errors.InvalidError, match="minor version"):
        inrush.Image.debian_slim("latest")


def test_steps_are_encoded_in_order() -> None:
    image = (
        inrush.Image.debian_slim()
        .apt_install("git", ["curl", "jq"])
        .pip_install("torch==2.13.0", ["numpy"], extra_options="--no-deps", index_url="https://x/simple", pre=True)
        .uv_pip_install("fastapi", extra_index_url="https://y/simple", find_links="/wheels")
        .run_commands("echo a", "echo b")
        .env({"A": "1"})
        .workdir("/srv")
    )
    assert parameters(image) == [
        ("apt", {"packages": ["git", "curl", "jq"]}),
        (
            "pip",
            {
                "packages": ["torch==2.13.0", "numpy"],
                "extra_options": "--no-deps",
                "index_url": "https://x/simple",
                "pre": True,
            },
        ),
        (
            "pip",
            {"packages": ["fastapi"], "extra_index_url": ["https://y/simple"], "find_links": ["/wheels"], "uv": True},
        ),
        ("run", {"commands": ["echo a", "echo b"]}),
        ("env", {"variables": {"A": "1"}}),
        ("workdir", {"path": "/srv"}),
    ]


def test_an_image_is_a_value() -> None:
    base = inrush.Image.debian_slim()
    base.pip_install("numpy")
    assert base.definition().recipe.steps == ()


def test_files_are_read_when_the_image_is_used(tmp_path: Path) -> None:
    requirements = tmp_path / "requirements.txt"
    image = inrush.Image.debian_slim().pip_install_from_requirements(requirements)
    with pytest.raises(errors.InvalidError, match=r"no file .*requirements\.txt"):
        image.definition()
    requirements.write_text("numpy\n")
    first = image.definition()
    [(label, blob)] = first.recipe.steps[0].files
    assert (label, blob) == ("requirements.txt", first.blobs[0].id)
    requirements.write_text("numpy==2\n")
    assert image.definition().recipe != first.recipe


def test_local_files_are_laid_over_or_copied(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    over = inrush.Image.host().add_local_file(tmp_path / "a.txt", "/data/")
    assert over.definition().recipe.steps == ()
    assert len(over.definition().mounts) == 1
    copied = inrush.Image.host().add_local_file(tmp_path / "a.txt", "/data/", copy=True)
    assert [step.kind for step in copied.definition().recipe.steps] == ["copy"]
    assert copied.definition().blobs[0].id == over.definition().mounts[0].id


def test_a_step_after_files_that_are_laid_over_is_refused(tmp_path: Path) -> None:
    with pytest.raises(errors.InvalidError, match="come last"):
        inrush.Image.host().add_local_dir(tmp_path, "/data").pip_install("numpy")


def test_folders_leave_out_what_is_ignored(tmp_path: Path) -> None:
    import io
    import tarfile

    for name in ("a.txt", "b.log", "deep/c.txt", "deep/keep.log", "skip/d.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    image = inrush.Image.host().add_local_dir(tmp_path, "/data", ignore=["**/*.log", "skip", "!deep/keep.log"])
    with tarfile.open(fileobj=io.BytesIO(image.definition().mounts[0].data)) as tar:
        assert tar.getnames() == ["data/a.txt", "data/deep/c.txt", "data/deep/keep.log"]
        assert all(member.mtime == 0 and member.uid == 0 for member in tar)


def test_equal_content_is_one_blob(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "f").write_text("same")
    ids = {inrush.Image.host().add_local_dir(tmp_path / f, "/d").definition().mounts[0].id for f in ("one", "two")}
    assert len(ids) == 1


def test_build_secrets_are_named_never_told() -> None:
    secret = inrush.Secret.from_dict({"TOKEN": "hidden"})
    definition = inrush.Image.debian_slim().run_commands("x", secrets=[secret], env={"MODE": "fast"}).definition()
    assert definition.recipe.steps[0].secrets == ("MODE", "TOKEN")
    assert "hidden" not in repr(definition.recipe)


def test_a_function_step_runs_again_only_when_its_own_code_changes() -> None:
    def build(n: int) -> inrush.Image:
        return inrush.Image.host().run_function(prepare, args=(n,))

    assert build(1).definition().recipe == build(1).definition().recipe
    assert build(1).definition().recipe != build(2).definition().recipe
    [(label, _), *_] = build(1).definition().recipe.steps[0].files
    assert label == "function"


def prepare(n: int) -> None:
    """What an image would run."""


def test_force_build_marks_the_step() -> None:
    assert inrush.Image.host().pip_install("numpy", force_build=True).definition().recipe.steps[0].force


@pytest.mark.parametrize(
    "wrong",
    [
        lambda i: i.pip_install(3),
        lambda i: i.apt_install(""),
        lambda i: i.env({"A": 1}),
        lambda i: i.workdir("here"),
        lambda i: i.run_commands([3]),
        lambda i: i.add_local_file("x", "relative"),
        lambda i: i.add_local_file(__file__, "/tmp/x"),
        lambda i: i.add_local_dir(".", "/dev/shm"),
        lambda i: i.add_local_dir(".", "/srv/../usr/share/x"),
        lambda i: i.add_local_python_source(),
        lambda i: i.run_function("echo"),
    ],
)
def test_what_cannot_be_is_refused_at_once(wrong: Any) -> None:
    with pytest.raises(errors.InvalidError):
        wrong(inrush.Image.host())


@pytest.mark.parametrize(
    "unbuilt",
    [
        lambda: inrush.Image.from_registry("debian"),
        lambda: inrush.Image.from_dockerfile("Dockerfile"),
        lambda: inrush.Image.micromamba(),
        lambda: inrush.Image.host().dockerfile_commands("RUN x"),
        lambda: inrush.Image.host().uv_sync(),
        lambda: inrush.Image.host().pip_install("x", gpu="A10G"),
        lambda: inrush.Image.host().run_commands("x", volumes={"/v": 1}),
    ],
)
def test_what_is_not_built_says_so_and_what_to_do(unbuilt: Any) -> None:
    with pytest.raises(errors.UnimplementedError, match=r"not built( yet)?: "):
        unbuilt()


def test_imports_that_only_the_image_has_are_passed_over_here(monkeypatch: pytest.MonkeyPatch) -> None:
    image = inrush.Image.host()
    with image.imports():
        import no_such_package  # type: ignore[import-not-found]
    with pytest.raises(ValueError, match="real"), image.imports():
        raise ValueError("a real mistake")
    assert image.missing_import is None
    monkeypatch.setenv("INRUSH_IS_REMOTE", "1")
    with image.imports():
        import no_such_package  # noqa: F401
    assert "no_such_package" in str(image.missing_import)


def test_pipe_passes_the_image_on() -> None:
    def add(image: inrush.Image, package: str) -> inrush.Image:
        return image.pip_install(package)

    assert parameters(inrush.Image.host().pipe(add, "numpy")) == [("pip", {"packages": ["numpy"]})]
