"""How an attempt can end: values and exceptions of all kinds, cancellation, timeouts."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator

import pytest

from deadline import DEADLINE_S
from guest.guest_process import CANCELLED, ERROR, OK, TIMEOUT, GuestProcess, arguments, failure, value
from inrush import by_value

CLASSES = """
class Odd(Exception):
    def __init__(self, code, why):
        super().__init__(f"{code}: {why}")
        self.code = code
class Plain(Exception):
    pass
"""


def test_an_exception_comes_back_as_itself_with_the_traceback_of_user_code_alone(guest: GuestProcess) -> None:
    guest.load("def inner():\n    raise KeyError('who')\ndef f():\n    inner()\n")
    error, traceback = guest.call()
    assert isinstance(error, KeyError)
    assert error.args == ("who",)
    assert "in f\n" in traceback
    assert "in inner\n" in traceback
    assert "inrush/guest" not in traceback


def test_the_traceback_tells_the_cause_too(guest: GuestProcess) -> None:
    guest.load(
        "def f():\n    try:\n        1 / 0\n    except ZeroDivisionError as e:\n        raise ValueError('no') from e\n"
    )
    error, traceback = guest.call()
    assert isinstance(error, ValueError)
    assert "ZeroDivisionError" in traceback
    assert "direct cause" in traceback


@pytest.fixture
def program(guest: GuestProcess, monkeypatch: pytest.MonkeyPatch) -> Iterator[GuestProcess]:
    """A guest whose module `program` can be imported here too, so that its exceptions can be made."""
    monkeypatch.syspath_prepend(str(guest.root))
    yield guest
    sys.modules.pop("program", None)


def test_an_exception_whose_constructor_takes_other_arguments_comes_back_as_itself(program: GuestProcess) -> None:
    program.load(CLASSES + "def f():\n    raise Odd(7, 'seven')\n")
    error, traceback = program.call()
    assert type(error).__name__ == "Odd"
    assert (str(error), error.code, error.args) == ("7: seven", 7, ("7: seven",))
    assert "raise Odd(7, 'seven')" in traceback


MORE_CLASSES = """
import dataclasses, threading
@dataclasses.dataclass(frozen=True)
class Frozen(Exception):
    number: int
class Doubled(Exception):
    def __init__(self, what):
        super().__init__(f"no {what}")
        self.what = what
class Keyword(OSError):
    def __init__(self, *, path):
        super().__init__(2, "not there", path)
class Slotted(Exception):
    __slots__ = ("left",)
    def __init__(self, left):
        self.left = left
class Locked(Exception):
    def __init__(self, lock, number):
        super().__init__("locked")
        self.lock, self.number = lock, number
class Group(ExceptionGroup):
    def __new__(cls, only):
        return super().__new__(cls, "several", [only])
CASES = {
    "doubled": lambda: Doubled("bread"),
    "keyword": lambda: Keyword(path="/x"),
    "slotted": lambda: Slotted(4),
    "locked": lambda: Locked(threading.Lock(), 3),
    "frozen": lambda: Frozen(5),
    "group": lambda: Group(Doubled("milk")),
}
def f(case):
    raise CASES[case]()
"""


def test_exceptions_are_what_they_were_whatever_their_constructors_do(program: GuestProcess) -> None:
    program.load(MORE_CLASSES)
    told = {case: program.call(case)[0] for case in ("doubled", "keyword", "slotted", "locked", "frozen", "group")}
    assert (str(told["doubled"]), told["doubled"].what) == ("no bread", "bread")
    assert (told["keyword"].errno, told["keyword"].filename) == (2, "/x")
    assert told["slotted"].left == 4
    assert (str(told["locked"]), told["locked"].number) == ("locked", 3)
    assert told["locked"].__notes__ == ["its attribute lock stayed in the container: a lock cannot be pickled"]
    assert told["frozen"].number == 5
    assert [str(one) for one in told["group"].exceptions] == ["no milk"]


def test_an_exception_that_cannot_be_pickled_comes_back_in_words(guest: GuestProcess) -> None:
    guest.load("import threading\ndef f():\n    raise ValueError(threading.Lock())\n")
    failed = guest.call()
    assert failed["type"] == "ValueError"
    assert "not as its own type: cannot pickle" in failed["message"]


def test_code_of_another_python_is_refused_with_both_versions(guest: GuestProcess) -> None:
    here = by_value.MINOR.encode()
    other = b"3.9" if len(here) == 3 else b"3.99"
    code = b"P" + by_value.dumps(((lambda x: x,), {})).replace(here, other)
    guest.load("def f(g):\n    return g(1)\n")
    guest.run("ca-1", code)
    failed = failure(guest.result("ca-1")[1])
    assert failed["code"] == "SerializationError"
    assert f"Python {other.decode()}" in failed["message"]
    assert f"Python {here.decode()}" in failed["message"]


def test_sys_exit_in_an_input_is_an_error_and_the_guest_goes_on(guest: GuestProcess) -> None:
    guest.load("import sys\ndef f(x):\n    x and sys.exit(3)\n    return 'here'\n")
    assert "sys.exit(3)" in guest.call(1)["message"]
    assert guest.call(0) == "here"


def test_a_result_that_does_not_pickle_names_its_type(guest: GuestProcess) -> None:
    guest.load("import threading\ndef f():\n    return threading.Lock()\n")
    failed = guest.call()
    assert failed["code"] == "SerializationError"
    assert "_thread.lock" in failed["message"]


def test_a_lambda_comes_back_by_value(guest: GuestProcess) -> None:
    guest.load("def f(n):\n    return lambda x: x + n\n")
    assert guest.call(3)(4) == 7


def test_arguments_that_do_not_unpickle_are_an_error_that_says_so(guest: GuestProcess) -> None:
    guest.load("def f(x):\n    return x\n")
    guest.run("ca-1", b"Pcnot_there\nThing\n.")
    status, payload = guest.result("ca-1")
    assert status == ERROR
    assert failure(payload)["code"] == "DeserializationError"
    assert "not_there" in failure(payload)["message"]


BLOCKERS = {
    "sleep": "import time\ndef f():\n    print('in', flush=True)\n    time.sleep(1000)\n",
    "loop": "def f():\n    print('in', flush=True)\n    while True:\n        pass\n",
    "lock": "import threading\ndef f():\n    print('in', flush=True)\n    threading.Event().wait()\n",
    "async": "import asyncio\nasync def f():\n    print('in', flush=True)\n    await asyncio.sleep(1000)\n",
}


@pytest.mark.parametrize("kind", BLOCKERS)
def test_a_running_input_is_cancelled_and_the_next_one_runs(guest: GuestProcess, kind: str) -> None:
    guest.load(BLOCKERS[kind])
    guest.run("ca-1", arguments())
    guest.expect_log("in", call="ca-1")
    guest.run("ca-2", arguments())
    guest.send({"t": "cancel", "c": "ca-1", "i": [0]})
    status, payload = guest.result("ca-1")
    assert status == CANCELLED
    assert failure(payload)["code"] == "CancelledError"
    guest.expect_log("in", call="ca-2")


def test_user_code_sees_input_cancellation_and_can_clean_up(guest: GuestProcess) -> None:
    source = """
import time
from inrush.errors import InputCancellation
seen = []
def f(x):
    if x:
        return seen
    try:
        print("in")
        time.sleep(1000)
    except Exception:
        seen.append("swallowed")
    except InputCancellation:
        seen.append("cancelled")
        print("cleaning")
        raise
    finally:
        seen.append("finally")
"""
    guest.load(source)
    guest.run("ca-1", arguments(0))
    guest.expect_log("in")
    guest.send({"t": "cancel", "c": "ca-1", "i": [0]})
    assert guest.result("ca-1")[0] == CANCELLED
    assert guest.call(1) == ["cancelled", "finally"]
    assert "cleaning" in guest.logs(call="ca-1")


def test_async_user_code_sees_cancelled_error(guest: GuestProcess) -> None:
    source = """
import asyncio
seen = []
async def f(x):
    if x:
        return seen
    try:
        print("in")
        await asyncio.sleep(1000)
    except asyncio.CancelledError:
        seen.append("cancelled")
        raise
"""
    guest.load(source)
    guest.run("ca-1", arguments(0))
    guest.expect_log("in")
    guest.send({"t": "cancel", "c": "ca-1", "i": [0]})
    assert guest.result("ca-1")[0] == CANCELLED
    assert guest.call(1) == ["cancelled"]


def test_an_input_that_waits_is_cancelled_without_running(guest: GuestProcess) -> None:
    source = """
import threading
ran = []
def f(x):
    ran.append(x)
    print("ran", x)
    x or threading.Event().wait(60)
    return ran
"""
    guest.load(source)
    guest.run("ca-1", arguments(0), arguments(1), arguments(2))
    guest.expect_log("ran 0")
    guest.send({"t": "cancel", "c": "ca-1", "i": [1]})
    assert guest.result("ca-1", 1)[0] == CANCELLED
    guest.send({"t": "cancel", "c": "ca-1", "i": [0]})
    assert value(guest.result("ca-1", 2)[1]) == [0, 2]


def test_one_of_many_threads_is_cancelled_and_the_others_go_on(guest: GuestProcess) -> None:
    source = """
import threading
barrier, go = threading.Barrier(5), threading.Event()
def f(x):
    if x == 9:
        return go.set()
    barrier.wait(60)
    print("past", x)
    while not go.wait(0.005):
        pass
    return x
"""
    guest.load(source, max_inputs=6)
    guest.run("ca-1", *(arguments(n) for n in range(4)))
    guest.run("ca-2", arguments(4))
    for n in range(5):
        guest.expect_log(f"past {n}\n")
    guest.send({"t": "cancel", "c": "ca-1", "i": [2]})
    assert guest.result("ca-1", 2)[0] == CANCELLED
    guest.call(9)
    assert [guest.result("ca-1", n)[0] for n in (0, 1, 3)] == [OK] * 3
    assert guest.result("ca-2")[0] == OK


def test_cancelling_while_user_code_prints_tears_no_frame(guest: GuestProcess) -> None:
    source = "def f():\n    print('in')\n    while True:\n        print('x' * 50)\n"
    guest.load(source, max_inputs=3)
    for round_ in range(12):
        call = f"ca-{round_}"
        guest.run(call, arguments(), arguments())
        guest.expect_log("in\n", call=call)
        guest.send({"t": "cancel", "c": call, "i": [0, 1]})
        assert [guest.result(call, n)[0] for n in (0, 1)] == [CANCELLED] * 2
        guest.frames.clear()


@pytest.mark.parametrize("kind", ["sleep", "loop", "async"])
def test_an_input_over_its_timeout_is_ended_and_the_next_one_runs(guest: GuestProcess, kind: str) -> None:
    guest.load(BLOCKERS[kind], timeout_s=0.3)
    guest.run("ca-1", arguments(), arguments())
    for index in (0, 1):
        status, payload = guest.result("ca-1", index)
        assert status == TIMEOUT
        assert failure(payload)["code"] == "FunctionTimeoutError"
        assert "0.3 s" in failure(payload)["message"]
    assert guest.process.poll() is None


def test_the_clock_of_an_input_starts_when_it_runs(guest: GuestProcess) -> None:
    guest.load("import time\ndef f():\n    time.sleep(0.15)\n", timeout_s=1)
    guest.run("ca-1", *(arguments() for _ in range(10)))
    assert {status for status, _ in guest.all_results("ca-1", 10).values()} == {OK}


@pytest.mark.parametrize("max_inputs", [1, 2])
def test_an_input_that_ignores_its_timeout_is_answered_for_and_the_guest_leaves(
    guest: GuestProcess, max_inputs: int
) -> None:
    source = """
import time
def f():
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            time.sleep(0.01)
        except BaseException:
            pass
"""
    guest.load(source, timeout_s=0.2, max_inputs=max_inputs)
    guest.run("ca-1", arguments())
    assert guest.result("ca-1")[0] == TIMEOUT
    assert guest.wait() == 3
    assert "ran on 2 s after its timeout of 0.2 s" in guest.logs("stderr", "ca-1")
    assert [header["t"] for header, _ in guest.frames][-3:] == ["leaving", "log", "out"]


SWALLOWS = """
import asyncio, time
def f():
    try:
        print("begun", flush=True)
        while True:
            time.sleep(0.01)
    except BaseException:
        time.sleep(600)
async def g():
    print("begun", flush=True)
    while True:
        try:
            await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            pass
"""


@pytest.mark.parametrize("qualname", ["f", "g"])
def test_an_input_that_swallows_its_cancellation_is_answered_for_and_the_guest_leaves(
    guest: GuestProcess, qualname: str
) -> None:
    guest.load(SWALLOWS, qualname)
    guest.run("ca-1", arguments())
    guest.expect_log("begun")
    guest.run("ca-2", arguments())
    guest.send({"t": "cancel", "c": "ca-1", "i": [0]})
    assert guest.result("ca-1")[0] == CANCELLED
    assert guest.wait() == 3
    assert guest.expect("back")[0]["c"] == "ca-2"
    assert "ran on 2 s after it was cancelled" in guest.logs("stderr", "ca-1")


def test_the_guest_leaves_when_its_agent_is_gone(guest: GuestProcess) -> None:
    guest.load("import time\ndef f():\n    time.sleep(1000)\n")
    guest.run("ca-1", arguments())
    guest.socket.close()
    deadline = time.monotonic() + DEADLINE_S
    while guest.process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert guest.process.poll() == 2
