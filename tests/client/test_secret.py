"""The sources from which a secret's values are taken."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import inrush
from inrush import errors


def test_from_dict_leaves_out_what_is_none_and_hides_values() -> None:
    secret = inrush.Secret.from_dict({"A": "hidden", "B": None})
    assert secret.keys == ("A",)
    assert "hidden" not in repr(secret)
    with pytest.raises(errors.InvalidError, match="'A'"):
        inrush.Secret.from_dict({"A": 1})  # type: ignore[dict-item]


def test_from_local_environ_names_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THERE", "1")
    assert inrush.Secret.from_local_environ(["THERE"]).keys == ("THERE",)
    with pytest.raises(errors.InvalidError, match="MISSING is not set"):
        inrush.Secret.from_local_environ(["THERE", "MISSING"])


def test_from_dotenv_looks_upwards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / ".env").write_text("KEY=1\n")
    assert inrush.Secret.from_dotenv(tmp_path / "deep" / "er").keys == ("KEY",)
    assert inrush.Secret.from_dotenv(tmp_path / ".env").keys == ("KEY",)
    monkeypatch.chdir(tmp_path / "deep")
    assert inrush.Secret.from_dotenv().keys == ("KEY",)
    with pytest.raises(errors.NotFoundError, match="no-such"):
        inrush.Secret.from_dotenv(tmp_path, filename="no-such.env")


def test_a_named_secret_reaches_the_container_and_can_be_updated(connected: Any) -> None:
    import subprocess
    import sys

    command = [sys.executable, "-m", "inrush", "secret", "create", "sdk-secret", "WORD=one"]
    subprocess.run(command, env=connected.env, check=True, timeout=60)
    app = inrush.App("secretive")

    @app.function(serialized=True, secrets=[inrush.Secret.from_name("sdk-secret", required_keys=["WORD"])])
    def word() -> str:
        import os

        return os.environ["WORD"]

    with app.run():
        assert word.remote() == "one"
    inrush.Secret.from_name("sdk-secret").update({"WORD": "two"})
    with app.run():
        assert word.remote() == "two"


def test_a_secret_that_is_not_there_is_told_when_the_app_starts(connected: Any) -> None:
    app = inrush.App("secretive")

    @app.function(serialized=True, secrets=[inrush.Secret.from_name("nobody-made-this")])
    def f() -> None: ...

    with pytest.raises(errors.NotFoundError, match="nobody-made-this"), app.run():
        pass
