"""Values are pickled into payloads and read back."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from inrush import errors, wire
from inrush.client import _payload
from inrush.parts import Parts
from inrush.wire import Status


def test_plain_values_come_back() -> None:
    value = {"a": [1, 2.5, None], "b": b"x"}
    assert _payload.load(_payload.dump(value)) == value


def test_lambdas_and_local_classes_are_carried_by_value() -> None:
    class Local:
        x = 3

    made, double = _payload.load(_payload.dump((Local, lambda n: 2 * n)))
    assert made.x == 3
    assert double(4) == 8


def test_what_cannot_be_unpickled_says_what_it_was() -> None:
    with pytest.raises(errors.DeserializationError, match="no_such_package"):
        _payload.load(b"Pcno_such_package\nThing\n.")


def test_the_argument_that_does_not_pickle_is_named() -> None:
    with pytest.raises(errors.SerializationError, match=r"argument 2 of f \(a lock\)"):
        _payload.dump_input("f", (1, threading.Lock()), {})
    with pytest.raises(errors.SerializationError, match="argument 'key' of f"):
        _payload.dump_input("f", (1,), {"key": threading.Lock()})


def test_an_exception_brings_its_traceback_as_its_cause() -> None:
    error = _payload.error_of(Status.ERROR, _payload.dump((KeyError("k"), "Traceback: there")))
    assert isinstance(error, KeyError)
    assert "Traceback: there" in str(error.__cause__)


def test_an_exception_that_did_not_pickle_is_a_remote_error() -> None:
    payload = wire.system_failure("RemoteError", "Strange: it broke", "Strange", "Traceback: there")
    error = _payload.error_of(Status.ERROR, payload)
    assert isinstance(error, errors.RemoteError)
    assert "it broke" in str(error)
    assert "Traceback: there" in str(error.__cause__)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (Status.TIMEOUT, errors.FunctionTimeoutError),
        (Status.CRASHED, errors.ExecutionError),
        (Status.OUT_OF_MEMORY, errors.OutOfMemoryError),
        (Status.STARTUP, errors.StartupError),
        (Status.CANCELLED, errors.CancelledError),
    ],
)
def test_ends_without_a_payload_have_their_error(status: Status, kind: type[Exception]) -> None:
    assert type(_payload.error_of(status, b"")) is kind


@pytest.mark.parametrize("payload", [b"J" + b"[" * 5000, b"J{", b"Z", b""])
def test_a_result_that_is_none_is_an_error_of_ours(payload: bytes) -> None:
    with pytest.raises(errors.Error):
        raise _payload.error_of(Status.ERROR, payload)


def test_a_failure_of_the_system_is_of_its_code() -> None:
    error = _payload.error_of(Status.CRASHED, wire.system_failure("OutOfMemoryError", "over 128 MiB"))
    assert isinstance(error, errors.OutOfMemoryError)
    assert str(error) == "over 128 MiB"


def test_what_a_program_defines_as_main_is_the_same_class_in_the_container(tmp_path: Path) -> None:
    program = tmp_path / "own.py"
    program.write_text(
        textwrap.dedent("""
        import sys
        from inrush.client._payload import dump, load
        class Thing:
            x = 1
        if __name__ == "__main__":
            payload = dump(Thing())
            assert type(load(payload)) is Thing
            sys.stdout.buffer.write(payload)
        """)
    )
    payload = subprocess.run([sys.executable, str(program)], capture_output=True, check=True).stdout
    reader = "import sys, own; from inrush.client._payload import load\nprint(type(load(sys.stdin.buffer.read())))"
    done = subprocess.run([sys.executable, "-c", reader], input=payload, capture_output=True, cwd=tmp_path, check=True)
    assert done.stdout.decode().strip() == "<class 'own.Thing'>"


def test_a_large_buffer_beside_what_goes_by_value_is_taken_once() -> None:
    np = pytest.importorskip("numpy")
    payload = _payload.dump_input("f", (np.ones(100_000), lambda n: n + 1), {})
    assert isinstance(payload, Parts)
    assert len(payload) < 900_000
    (array, function), _ = _payload.load(memoryview(bytearray().join(payload.pieces)))
    assert array.sum() == 100_000
    assert function(1) == 2
