"""Loading user code: modules, wrappers of the SDK, pickled functions, hooks, parameters, and what can go wrong."""

from __future__ import annotations

import cloudpickle
import pytest

from guest.guest_process import GuestProcess, failure

SDK_CLASS = """
import inrush
from inrush.client._parameter import parameter
from inrush.client.cls import Cls
from inrush.client._marks import enter, exit
from inrush.client._methods import method
order = []
class Base:
    @enter()
    def base_hook(self):
        order.append("base")
    @enter(snap=True)
    def base_snap(self):
        order.append("base snap")
    @exit()
    def leave(self):
        print("bye")
class Raw(Base):
    size: int = parameter(default=3)
    name: str = parameter()
    key: bytes = parameter()
    @enter()
    async def own_hook(self):
        order.append(f"own {self.size} {self.name} {self.key}")
    @enter(snap=True)
    def own_snap(self):
        order.append("own snap")
    @method()
    def get(self, x):
        return order, self.helper(x), self.other(x)
    @method()
    def other(self, x):
        return -x
    def helper(self, x):
        return x + self.size
class Reference:
    app = name = ""
Model = Cls("Model", Raw, Reference())
"""


def test_a_class_of_the_sdk_gets_parameters_then_hooks_base_first_and_its_methods_run(guest: GuestProcess) -> None:
    parameters = {"size": 5, "name": "n", "key": {"b64": "aGk="}}
    guest.load(SDK_CLASS, "Model", is_class=True, methods=["get", "other"], parameters=parameters, snapshot=True)
    order, helped, negated = guest.call(10, method="get")
    assert order == ["base snap", "own snap", "base", "own 5 n b'hi'"]
    assert (helped, negated) == (15, -10)
    names = [name for name, _ in guest.expect("ready")[0]["phases"]]
    assert names == ["import", "snap hooks", "enter hooks"]


def test_parameters_that_are_not_given_have_their_default(guest: GuestProcess) -> None:
    guest.load(SDK_CLASS, "Model", is_class=True, methods=["get"], parameters={"name": "n", "key": {"b64": ""}})
    assert guest.call(1, method="get")[1] == 4


def test_an_override_of_a_hook_runs_once_in_the_place_of_its_base(guest: GuestProcess) -> None:
    source = """
from inrush.client._marks import enter
order = []
class Base:
    @enter()
    def one(self): order.append("base one")
    @enter()
    def gone(self): order.append("base gone")
class C(Base):
    @enter()
    def two(self): order.append("two")
    @enter()
    def one(self): order.append("one")
    def gone(self): order.append("never")
    def get(self): return order
"""
    guest.load(source, "C", is_class=True, methods=["get"])
    assert guest.call(method="get") == ["one", "two"]


def test_a_pickled_function_runs_though_no_module_has_it(guest: GuestProcess) -> None:
    added = 5
    guest.begin("", "", code=cloudpickle.dumps(lambda x: x + added))
    guest.expect("ready")
    assert guest.call(2) == 7


def test_the_module_is_not_main_and_sees_its_neighbours(guest: GuestProcess) -> None:
    (guest.root / "neighbour.py").write_text("value = 11\n")
    source = "import neighbour\nran = __name__ == '__main__'\ndef f():\n    return ran, __name__, neighbour.value\n"
    guest.load(source)
    assert guest.call() == (False, "program", 11)


def test_the_environment_of_the_load_is_there_at_import(guest: GuestProcess) -> None:
    guest.load("import os\nseen = os.environ['WHO']\ndef f():\n    return seen\n", env={"WHO": "me"})
    assert guest.call() == "me"


BROKEN = {
    "import": ("import not_there_at_all\n", "ModuleNotFoundError", "not_there_at_all"),
    "syntax": ("def f(:\n", "SyntaxError", "program.py"),
    "raise": ("def boom():\n    raise ValueError('at import')\nboom()\n", "ValueError", "in boom"),
    "missing": ("def g():\n    pass\n", "", "program has no f"),
    "exit": ("import sys\nsys.exit(4)\n", "SystemExit", "sys.exit(4)"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_module_that_does_not_import_fails_the_start_with_a_traceback_of_user_code(
    guest: GuestProcess, kind: str
) -> None:
    source, type_name, said = BROKEN[kind]
    guest.begin(source)
    header, _ = guest.expect("failed")
    assert header["code"] == "StartupError"
    assert type_name in header["type"]
    assert said in header["message"] + header["tb"]
    assert "inrush/guest" not in header["tb"]
    assert "frozen importlib" not in header["tb"]
    assert guest.wait() == 1


HOOK = """
from inrush.client._marks import enter
class C:
    @enter()
    {keyword} load(self):
        print("loading")
        raise LookupError("no weights")
    def get(self): pass
"""


@pytest.mark.parametrize("keyword", ["def", "async def"])
def test_an_enter_hook_that_raises_fails_the_start_with_its_exception(guest: GuestProcess, keyword: str) -> None:
    guest.begin(HOOK.format(keyword=keyword), "C", is_class=True, methods=["get"])
    header, payloads = guest.expect("failed")
    error, traceback = failure(payloads[0])
    assert isinstance(error, LookupError)
    assert "in load" in traceback
    assert (header["code"], header["type"]) == ("StartupError", "LookupError")
    assert "no weights" in header["message"]
    assert guest.wait() == 1
    assert guest.logs() == "loading\n"


def test_a_start_that_takes_too_long_fails_and_says_which_setting_to_raise(guest: GuestProcess) -> None:
    guest.begin("import time\ntime.sleep(1000)\ndef f(): pass\n", startup_timeout_s=0.3)
    header, _ = guest.expect("failed")
    assert header["code"] == "StartupError"
    assert "startup_timeout=0.3" in header["message"]
    assert guest.wait() == 1


TWO_IMAGES = """
import inrush
app = inrush.App("two")
fat = inrush.Image.debian_slim().pip_install("no-such-package")
with fat.imports():
    import no_such_package
@app.function()
def slim():
    return "runs"
@app.function(image=fat)
def needs():
    return no_such_package
"""


def test_imports_of_one_image_are_no_matter_to_functions_of_another(guest: GuestProcess) -> None:
    guest.load(TWO_IMAGES, "slim")
    assert guest.call() == "runs"


def test_imports_that_the_own_image_lacks_fail_the_start(guest: GuestProcess) -> None:
    guest.begin(TWO_IMAGES, "needs")
    header, _ = guest.expect("failed")
    assert "No module named 'no_such_package'" in header["message"]
    assert "client/image.py" not in header["tb"]
