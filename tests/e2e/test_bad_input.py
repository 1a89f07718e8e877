"""Programs that ask for what cannot be, or do what they should not: a clear error each, and the server lives on."""

from __future__ import annotations

import json

from running_server import RunningServer

STILL_WORKS = """
import inrush

app = inrush.App("still-works")

@app.function()
def double(x):
    return 2 * x

@app.local_entrypoint()
def main():
    print("doubled", double.remote(21))
"""


def still_works(server: RunningServer) -> None:
    assert "doubled 42" in server.run(STILL_WORKS).stdout


def caught(server: RunningServer, body: str, call: str = "f.remote()", decorator: str = "", **env: str) -> str:
    """Runs `f` with this body; gives what the call raised, as `TYPE: message`."""
    lines = "\n".join(f"    {line}" for line in body.strip("\n").splitlines())
    program = f"""
import os, sys, time, threading
import inrush
from inrush import errors

app = inrush.App("bad")

@app.function({decorator})
def f(x=None):
{lines}

@app.local_entrypoint()
def main():
    try:
        result = {call}
        print("RETURNED", repr(result)[:200])
    except BaseException as error:
        print("RAISED", ",".join(t.__name__ for t in type(error).__mro__), ":", str(error)[:3000])
"""
    done = server.run(program, **env)
    return done.stdout + done.stderr


def test_a_gpu_type_that_no_node_has_is_refused_with_those_that_are(server: RunningServer) -> None:
    out = server.try_run(STILL_WORKS.replace("@app.function()", '@app.function(gpu="H999")'))
    assert out.returncode != 0
    said = out.stdout + out.stderr
    assert "H999" in said
    assert "A10G" in said
    assert "Traceback" not in said
    still_works(server)


def test_more_gpus_than_any_node_has_are_refused(server: RunningServer) -> None:
    out = server.try_run(STILL_WORKS.replace("@app.function()", '@app.function(gpu="A10G:64")'))
    assert out.returncode != 0
    said = out.stdout + out.stderr
    assert "64" in said
    assert "A10G" in said
    still_works(server)


def test_what_no_node_has_is_refused_before_an_image_is_built(server: RunningServer) -> None:
    image = 'image = inrush.Image.host().run_commands("echo building for nothing")\n'
    program = STILL_WORKS.replace("@app.function()", f'{image}\n@app.function(image=image, gpu="H999")')
    out = server.try_run(program)
    assert "no node has H999" in out.stderr
    assert 'write gpus = "H999:8" into the server\'s config.toml' in out.stderr
    assert "server stop" not in out.stderr
    assert "building" not in out.stdout + out.stderr


def test_an_image_step_that_fails_is_named_with_its_output(server: RunningServer) -> None:
    image = 'image = inrush.Image.host().run_commands("echo about to fail; exit 7")\n'
    program = STILL_WORKS.replace("@app.function()", f"{image}\n@app.function(image=image)")
    out = server.try_run(program)
    assert out.returncode != 0
    said = out.stdout + out.stderr
    assert "about to fail" in said
    assert "7" in said
    still_works(server)


def test_a_module_that_does_not_import_in_the_container_is_a_startup_error(server: RunningServer) -> None:
    bad = 'import os\nif "INRUSH_IS_REMOTE" in os.environ:\n    import nowhere_to_be_found\n'
    program = STILL_WORKS.replace('app = inrush.App("still-works")', f'{bad}app = inrush.App("no-import")')
    out = server.try_run(program)
    assert out.returncode != 0
    assert "import nowhere_to_be_found\n" in out.stderr, "the line that failed is not shown"
    assert "error: the container could not start: ModuleNotFoundError" in out.stderr
    assert "pip_install" in out.stderr
    logs = server.inrush("app", "logs", "no-import").stdout
    assert "import nowhere_to_be_found" in logs
    assert "the container could not start" in logs
    still_works(server)


def test_an_argument_that_does_not_pickle_is_refused_here(server: RunningServer) -> None:
    out = caught(server, "return 1", call="f.remote(threading.Lock())")
    assert "SerializationError" in out
    assert "lock" in out


def test_a_result_that_does_not_pickle_is_an_error_that_says_so(server: RunningServer) -> None:
    out = caught(server, "return threading.Lock()")
    assert "SerializationError" in out
    assert "lock" in out


def test_an_exception_that_does_not_pickle_still_arrives_with_its_traceback(server: RunningServer) -> None:
    out = caught(server, "class Odd(Exception): pass\nerror = Odd('deep')\nerror.lock = threading.Lock()\nraise error")
    assert "RAISED" in out
    assert "Odd" in out
    assert "deep" in out


def test_a_payload_over_the_limit_is_refused_both_ways(own_server: RunningServer) -> None:
    own_server.env["INRUSH_MAX_PAYLOAD_MIB"] = "1"
    own_server.start()
    out = caught(own_server, "return len(x)", call="f.remote(bytes(3_000_000))")
    assert "RequestSizeError" in out
    out = caught(own_server, "return bytes(3_000_000)")
    assert "RequestSizeError" in out
    still_works(own_server)


def test_a_function_that_leaves_the_interpreter_is_an_error_of_its_call_only(server: RunningServer) -> None:
    out = caught(server, "os._exit(13)")
    assert "ExecutionError" in out
    assert "13" in out
    still_works(server)


def test_a_function_that_is_killed_by_a_signal_says_which(server: RunningServer) -> None:
    out = caught(server, "import ctypes\nctypes.string_at(0)")
    assert "ExecutionError" in out
    assert "SIGSEGV" in out


def test_a_function_that_eats_all_memory_is_killed_at_its_limit(server: RunningServer) -> None:
    body = "hoard = []\nfor n in range(4096):\n    hoard.append(bytearray(1 << 20))\nreturn len(hoard)"
    out = caught(server, body, decorator="memory=(128, 256)")
    assert "OutOfMemoryError" in out
    assert "256 MiB" in out
    still_works(server)


def test_a_function_that_takes_longer_than_its_timeout_is_interrupted(server: RunningServer) -> None:
    out = caught(server, "time.sleep(600)", decorator="timeout=1")
    assert "FunctionTimeoutError" in out
    assert "TimeoutError" in out


def test_a_function_that_ignores_its_timeout_loses_its_container(server: RunningServer) -> None:
    body = "while True:\n    try:\n        while True: time.sleep(0.01)\n    except BaseException: pass"
    out = caught(server, body, decorator="timeout=1")
    assert "FunctionTimeoutError" in out
    still_works(server)


def test_a_function_that_blocks_the_interpreter_past_its_timeout_is_killed_by_the_agent(server: RunningServer) -> None:
    body = "import ctypes\nctypes.PyDLL(None).sleep(600)  # holds the interpreter's lock"
    out = caught(server, body, decorator="timeout=1")
    assert "FunctionTimeoutError" in out
    still_works(server)


def test_a_function_that_closes_its_output_still_answers(server: RunningServer) -> None:
    out = caught(server, "sys.stdout.close()\nos.close(1)\nos.close(2)\nreturn 'answered'")
    assert "RETURNED 'answered'" in out
    still_works(server)


def test_a_function_that_closes_every_descriptor_is_an_error_of_its_call_only(server: RunningServer) -> None:
    out = caught(server, "os.closerange(0, 256)\ntime.sleep(60)", decorator="timeout=20")
    assert "RAISED" in out
    assert "Error" in out
    still_works(server)


def test_a_function_that_prints_a_hundred_megabytes_answers_and_the_log_stays_small(server: RunningServer) -> None:
    body = "line = 'x' * 999\nfor n in range(100_000): print(line)\nos.write(1, b'y' * 10_000_000)\nreturn 'printed'"
    out = caught(server, body)
    assert "RETURNED 'printed'" in out
    assert len(out) < 40_000_000
    assert "dropped" in out
    still_works(server)


def test_a_wrong_token_is_refused(server: RunningServer) -> None:
    url = json.loads((server.home / "run" / "server.json").read_text())["url"]
    out = server.try_run(STILL_WORKS, INRUSH_SERVER_URL=url, INRUSH_TOKEN="wrong")
    assert out.returncode != 0
    assert "token" in (out.stdout + out.stderr).lower()
    still_works(server)


def test_a_class_whose_enter_hook_fails_is_a_startup_error_with_the_hooks_own_words(server: RunningServer) -> None:
    out = server.run(
        """
        import inrush

        app = inrush.App("bad-hook")

        @app.cls()
        class Broken:
            @inrush.enter()
            def load(self):
                raise RuntimeError("weights are missing")

            @inrush.method()
            def f(self):
                return 1

        @app.local_entrypoint()
        def main():
            try:
                Broken().f.remote()
            except Exception as error:
                print("RAISED", type(error).__name__, error)
        """
    )
    assert "weights are missing" in out.stdout
    still_works(server)


def test_a_snapshot_whose_hook_fails_is_a_startup_error_with_the_hooks_own_words(server: RunningServer) -> None:
    out = server.run(
        """
        import inrush

        app = inrush.App("bad-snap")

        @app.cls(enable_memory_snapshot=True)
        class Broken:
            @inrush.enter(snap=True)
            def load(self):
                raise RuntimeError("weights are missing")

            @inrush.method()
            def f(self):
                return 1

        @app.local_entrypoint()
        def main():
            try:
                Broken().f.remote()
            except Exception as error:
                print("RAISED", type(error).__name__, error)
        """
    )
    assert "weights are missing" in out.stdout


def test_a_snapshot_that_does_not_settle_starts_plainly(server: RunningServer) -> None:
    out = server.run(
        """
        import threading, time
        import inrush

        app = inrush.App("unsettled")

        @app.cls(enable_memory_snapshot=True)
        class Threaded:
            @inrush.enter(snap=True)
            def load(self):
                threading.Thread(target=time.sleep, args=(3600,), daemon=True, name="busybody").start()
                self.ready = True

            @inrush.method()
            def f(self):
                return self.ready

        @app.local_entrypoint()
        def main():
            print("works", Threaded().f.remote())
        """
    )
    assert "works True" in out.stdout


LABELLED = """
import inrush

app = inrush.App("NAME")

@app.function()
@inrush.asgi_app(label="taken-label")
def site(): ...
"""


def test_a_label_that_another_app_has_is_refused_with_the_name_of_that_app(server: RunningServer) -> None:
    first, second = (server.write(LABELLED.replace("NAME", name)) for name in ("has-it", "wants-it"))
    assert server.inrush("deploy", str(first)).returncode == 0
    try:
        refused = server.inrush("deploy", str(second))
        assert refused.returncode == 1
        assert "in use by app 'has-it'" in refused.stderr
        assert server.inrush("deploy", str(first)).returncode == 0, "its own label is no obstacle"
    finally:
        server.inrush("app", "stop", "has-it")
