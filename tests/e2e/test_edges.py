"""Programs at the edge of what users do: each did something wrong once, in silence or with an error of ours."""

from __future__ import annotations

import subprocess
import sys
import urllib.error
import urllib.request

import pytest

from running_server import RunningServer, poll

HANDLES = """
import inrush
app = inrush.App("handles")
@app.cls()
class M:
    size: str = inrush.parameter(default="small")
    @inrush.method()
    def which(self):
        return self.size
    @inrush.method()
    def own(self):
        return relay.remote(self.which)
@app.function()
def relay(m):
    return m.remote()
@app.function()
def of(instance, cls, f):
    return instance.which.remote(), cls(size="c").which.remote(), f.remote(instance.which)
@app.local_entrypoint()
def main():
    print([relay.remote(M(size="large").which), relay.remote(M().which), M(size="own").own.remote()])
    print(of.remote(M(size="o"), M, relay))
"""


def test_handles_keep_their_parameters_when_they_are_passed_on(server: RunningServer) -> None:
    out = server.run(HANDLES).stdout
    assert "['large', 'small', 'own']" in out
    assert "('o', 'c', 'o')" in out


LOOKUPS = """
import inrush
app = inrush.App("lookups")
@app.function()
def f(x=0):
    me = inrush.FunctionCall.from_id(inrush.current_function_call_id())
    try:
        return me.num_inputs(), me.get(timeout=5)
    except Exception as error:
        return me.num_inputs(), type(error).__name__, "goes to who called it" in str(error)
@app.function()
def g(x):
    return x
def refused(ask):
    try:
        return ask()
    except Exception as error:
        return type(error).__name__
@app.local_entrypoint()
def main():
    print(f.remote(), list(f.map([1]))[0])
    call = g.spawn_map([1, 2])
    print([refused(lambda: call.get(index=5)), refused(lambda: list(call.iter(end=3))),
           refused(lambda: call.get(index=-1)), refused(lambda: call.get(timeout=float("nan"))),
           refused(lambda: call.get(timeout="1"))])
    print([call.get(timeout=float("inf"), index=1), list(call.iter(end=2)), call.get(timeout=1e300)])
    print([refused(lambda: inrush.FunctionCall.from_id("ca-\\ud800").get()),
           refused(lambda: inrush.Function.from_name("a\\ud800", "f").remote()),
           refused(lambda: g.update_autoscaler(min_containers=5, max_containers=2))])
    g.update_autoscaler(max_containers=2)
    print([refused(lambda: g.update_autoscaler(min_containers=least)) for least in (5, 2)])
"""


def test_questions_about_calls_are_answered_or_refused_at_once(server: RunningServer) -> None:
    lines = server.run(LOOKUPS).stdout.splitlines()
    assert "(1, 'InvalidError', True) (1, 'InvalidError', True)" in lines
    assert str(["InvalidError"] * 5) in lines
    assert "[2, [1, 2], 1]" in lines
    assert str(["InvalidError"] * 3) in lines
    assert "['InvalidError', None]" in lines


FILES = """
import os, tempfile
import inrush
image = inrush.Image.host()
if inrush.is_local():
    folder = tempfile.mkdtemp()
    for name in ("one", "two", "three/real"):
        os.makedirs(os.path.join(folder, name))
    with open(os.path.join(folder, "x"), "w") as file:
        file.write("x")
    os.symlink("real", os.path.join(folder, "three", "link"))
    x = os.path.join(folder, "x")
    image = image.add_local_file(x, "/srv/x").add_local_file(x, "/srv/y/").add_local_file(x, "/srv/x")
    for name in ("one", "two"):
        image = image.add_local_dir(os.path.join(folder, name), "/srv/one")
    image = image.add_local_dir(os.path.join(folder, "three"), "/var/run/three")
app = inrush.App("files", image=image)
@app.function()
def f():
    three = sorted(os.listdir("/run/three"))
    return sorted(os.listdir("/srv")), os.listdir("/srv/one"), three, os.readlink("/run/three/link")
@app.local_entrypoint()
def main():
    print(f.remote())
"""


def test_files_that_are_added_twice_and_empty_folders_are_there(server: RunningServer) -> None:
    assert "(['one', 'x', 'y'], [], ['link', 'real'], 'real')" in server.run(FILES).stdout


MISSING_SECRET = """
import inrush
app = inrush.App("secretive", image=inrush.Image.host().run_commands("echo built"))
@app.function(secrets=[inrush.Secret.from_name("not-there")])
def f():
    return 1
@app.local_entrypoint()
def main():
    f.remote()
"""


def test_a_missing_secret_is_told_before_anything_is_built(server: RunningServer) -> None:
    done = server.try_run(MISSING_SECRET)
    assert "not-there" in done.stderr
    assert "building" not in done.stderr + done.stdout


SIGNALS = """
import os, signal, time
import inrush
app = inrush.App("signals")
@app.function(retries=0)
def f(n):
    os.kill(os.getpid(), n)
    time.sleep(20)
@app.local_entrypoint()
def main():
    for name in ("SIGKILL", "SIGABRT", "SIGSEGV"):
        try:
            print(f.remote(getattr(signal, name)))
        except Exception as error:
            print(f"killed by {name}" in str(error), type(error).__name__)
"""


def test_signals_that_user_code_sends_to_itself_end_it_and_are_named(server: RunningServer) -> None:
    assert server.run(SIGNALS).stdout.count("True ExecutionError") == 3


NARROW = """
import inrush
app = inrush.App("narrow")
@app.function()
def f(i: int):
    print("\\u00e9" if i == 1 else "plain", i)
if __name__ == "__main__":
    with inrush.enable_output(), app.run():
        for i in range(4):
            f.remote(i)
"""


@pytest.mark.parametrize("by", ["program", "command"])
def test_what_a_terminal_cannot_show_is_replaced_and_output_goes_on(server: RunningServer, by: str) -> None:
    env = {**server.env, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    program = str(server.write(NARROW))
    if by == "program":
        command = [sys.executable, program]
    else:
        command = [sys.executable, "-m", "inrush", "run", f"{program}::f", "--i", "1"]
        env["PYTHONIOENCODING"] = "ascii"
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "? 1" in done.stdout
    assert (by == "command") or "plain 3" in done.stdout


BAR = """
import sys
import inrush
app = inrush.App("bar")
@app.function()
def f():
    for n in range(101):
        sys.stderr.write(f"\\\\r{n:3}%|{'#' * n}")
        sys.stderr.flush()
    sys.stderr.write("\\\\n")
@app.local_entrypoint()
def main():
    f.remote()
""".replace("\\\\", "\\")


def test_a_progress_bar_is_one_line_of_output_and_of_the_log(server: RunningServer) -> None:
    done = server.run(BAR)
    assert [line for line in done.stderr.splitlines() if "%|" in line and "100%" not in line] == []
    assert done.stderr.count("100%|") == 1


LAMBDAS = """
import inrush
app = inrush.App("lambdas")
@app.function()
def f(g):
    return g(1)
@app.local_entrypoint()
def main():
    try:
        f.remote(lambda x: x)
    except Exception as error:
        print(type(error).__name__, error)
    try:
        with late_app().run():
            pass
    except Exception as error:
        print(type(error).__name__, error)
def late_app():
    late = inrush.App("late")
    def inner(x):
        return x
    late.function(serialized=True)(inner)
    return late
"""


def test_code_of_a_client_of_another_python_is_refused_with_both_versions(server: RunningServer) -> None:
    other = "3.99"
    forged = f"import inrush, inrush.by_value as b\nb.MINOR = {other!r} if inrush.is_local() else b.MINOR\n"
    program = forged + LAMBDAS
    done = server.try_run(program)
    here = ".".join(map(str, sys.version_info[:2]))
    assert f"Python {other}" in done.stdout, done.stdout + done.stderr
    assert f"Python {here}" in done.stdout
    assert done.stdout.count("SerializationError") == 2


BROKEN_START = """
import inrush
app = inrush.App("broken-start")
class Odd(Exception):
    def __init__(self, code, why):
        super().__init__(f"{code}: {why}")
@app.cls()
class Model:
    @inrush.enter()
    def load(self):
        raise Odd(7, "no weights")
    @inrush.method()
    def f(self):
        return 1
@app.function()
@inrush.asgi_app()
def web():
    return undefined_name
"""


def test_the_traceback_of_an_app_that_does_not_start_is_in_its_log(server: RunningServer) -> None:
    deployed = server.inrush("deploy", str(server.write(BROKEN_START)))
    assert deployed.returncode == 0, deployed.stderr
    try:
        url = next(line.split()[-1] for line in deployed.stdout.splitlines() if "/w/" in line)
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(url, timeout=60)
        assert "undefined_name" not in refused.value.read().decode()
        spawn = "import inrush; inrush.Cls.from_name('broken-start', 'Model')().f.spawn()"
        assert subprocess.run([sys.executable, "-c", spawn], env=server.env, timeout=60).returncode == 0
        poll(lambda: "no weights" in server.inrush("app", "logs", "broken-start").stdout, 60)
        log = server.inrush("app", "logs", "broken-start").stdout
    finally:
        server.inrush("app", "stop", "broken-start", "-y")
    assert "return undefined_name" in log
    assert 'raise Odd(7, "no weights")' in log
