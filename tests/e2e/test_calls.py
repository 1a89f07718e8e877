"""Programs as users write them, against a real server with real containers."""

from __future__ import annotations

import re

from running_server import RunningServer


def test_a_remote_call_runs_in_a_container_and_not_here(server: RunningServer) -> None:
    done = server.run(
        """
        import os
        import inrush

        app = inrush.App("hello")

        @app.function()
        def where(name: str) -> dict:
            names = {"remote": "INRUSH_IS_REMOTE", "container": "INRUSH_CONTAINER_ID", "cuda": "CUDA_VISIBLE_DEVICES"}
            return {"hello": name} | {key: os.environ[variable] for key, variable in names.items()}

        @app.local_entrypoint()
        def main():
            print(where.remote("world"), where.local.__name__, "INRUSH_IS_REMOTE" in os.environ)
        """
    )
    assert "'hello': 'world'" in done.stdout
    assert "'remote': '1'" in done.stdout
    assert "'container': 'co-" in done.stdout
    assert "'cuda': ''" in done.stdout
    assert "local False" in done.stdout


def test_a_map_of_a_thousand_keeps_its_order(server: RunningServer) -> None:
    done = server.run(
        """
        import inrush

        app = inrush.App("squares")

        @app.function()
        @inrush.concurrent(max_inputs=20)
        def square(x):
            return x * x

        @app.local_entrypoint()
        def main():
            assert list(square.map(range(1000))) == [x * x for x in range(1000)]
            assert sorted(square.map(range(1000), order_outputs=False)) == [x * x for x in range(1000)]
            print("in order")
        """
    )
    assert "in order" in done.stdout


def test_spawned_calls_are_fetched_later_and_by_id(server: RunningServer) -> None:
    done = server.run(
        """
        import inrush

        app = inrush.App("later")

        @app.function()
        def add(a, b=1):
            return a + b

        @app.local_entrypoint()
        def main():
            calls = [add.spawn(n, b=10) for n in range(5)]
            print([c.get(timeout=60) for c in calls])
            print(inrush.FunctionCall.from_id(calls[0].object_id).get(timeout=60))
        """
    )
    assert "[10, 11, 12, 13, 14]\n10\n" in done.stdout


def test_an_exception_arrives_as_its_own_type_with_the_remote_traceback(server: RunningServer) -> None:
    done = server.run(
        """
        import traceback
        import inrush

        app = inrush.App("failing")

        class Odd(Exception):
            pass

        @app.function()
        def fail(kind):
            def inner_frame():
                raise {"own": Odd, "zero": ZeroDivisionError}[kind](f"no {kind}")
            inner_frame()

        @app.local_entrypoint()
        def main():
            for kind, expected in (("own", Odd), ("zero", ZeroDivisionError)):
                try:
                    fail.remote(kind)
                except expected as error:
                    print("caught", type(error).__name__, error)
                    print(traceback.format_exc())
        """
    )
    assert "caught Odd no own" in done.stdout
    assert "caught ZeroDivisionError no zero" in done.stdout
    assert "inner_frame" in done.stdout


def test_an_exception_that_nobody_catches_ends_the_run_with_a_status_that_says_so(server: RunningServer) -> None:
    done = server.try_run(
        """
        import inrush

        app = inrush.App("uncaught")

        @app.function()
        def fail():
            raise ValueError("the reason")

        @app.local_entrypoint()
        def main():
            fail.remote()
        """
    )
    assert done.returncode != 0
    assert "the reason" in done.stdout + done.stderr


def test_enter_hooks_run_once_a_container_and_exit_hooks_at_its_end(server: RunningServer) -> None:
    done = server.run(
        """
        import inrush

        app = inrush.App("hooks")
        seen = inrush.Dict.from_name("hooks-seen", create_if_missing=True)

        @app.cls(scaledown_window=2)
        class Counter:
            start: int = inrush.parameter(default=0)

            @inrush.enter()
            def begin(self):
                self.n = self.start

            @inrush.method()
            def more(self):
                self.n += 1
                return self.n

            @inrush.exit()
            def end(self):
                seen["ended"] = self.n

        @app.local_entrypoint()
        def main():
            import time
            seen["ended"] = None
            counter = Counter(start=40)
            print([counter.more.remote() for _ in range(2)])
            print([Counter().more.remote()])
            deadline = time.time() + 60
            while seen["ended"] is None and time.time() < deadline:
                time.sleep(0.1)
            print("ended", seen["ended"])
        """
    )
    assert "[41, 42]" in done.stdout
    assert "[1]" in done.stdout
    assert re.search(r"ended (42|1)", done.stdout)


def test_a_snapshot_runs_its_hook_once_and_every_container_has_what_it_made(server: RunningServer) -> None:
    done = server.run(
        """
        import os, time
        import inrush

        app = inrush.App("snapped")
        count = inrush.Dict.from_name("snap-count", create_if_missing=True)

        @app.cls(enable_memory_snapshot=True, max_containers=3)
        class Model:
            @inrush.enter(snap=True)
            def load(self):
                self.token = os.urandom(8).hex()

            @inrush.enter()
            def after(self):
                self.own = os.environ["INRUSH_CONTAINER_ID"]

            @inrush.method()
            def get(self, n):
                time.sleep(0.3)
                return self.token, self.own, os.urandom(4).hex()

        @app.local_entrypoint()
        def main():
            rows = list(Model().get.map(range(12)))
            tokens, containers, random = ({row[column] for row in rows} for column in range(3))
            print("tokens", len(tokens), "containers", len(containers), "random", len(random))
        """
    )
    match = re.search(r"tokens (\d+) containers (\d+) random (\d+)", done.stdout)
    assert match is not None
    assert match[1] == "1"
    assert int(match[2]) > 1
    assert match[3] == "12"


def test_inputs_of_one_container_run_side_by_side(server: RunningServer) -> None:
    done = server.run(
        """
        import threading
        import inrush

        app = inrush.App("together")
        barrier = threading.Barrier(4)

        @app.function(max_containers=1)
        @inrush.concurrent(max_inputs=4)
        def meet(n):
            barrier.wait(60)
            return n

        @app.local_entrypoint()
        def main():
            print(list(meet.map(range(4))))
        """
    )
    assert "[0, 1, 2, 3]" in done.stdout


def test_generators_yield_as_they_go(server: RunningServer) -> None:
    done = server.run(
        """
        import inrush

        app = inrush.App("yielding")

        @app.function()
        def count(n):
            for i in range(n):
                yield i

        @app.function()
        def echo(data):
            for start in range(0, len(data), 500_000):
                yield data[start : start + 500_000]

        @app.local_entrypoint()
        def main():
            print(list(count.remote_gen(200)) == list(range(200)))
            print(sum(map(len, echo.remote_gen(bytes(20_000_000)))))
        """
    )
    assert "True\n20000000" in done.stdout


def test_what_functions_print_is_shown_where_the_program_runs(server: RunningServer) -> None:
    done = server.run(
        """
        import os, subprocess, sys
        import inrush

        app = inrush.App("printing")

        @app.function()
        def say():
            print("from python")
            print("from stderr", file=sys.stderr)
            os.write(1, b"from the descriptor\\n")
            subprocess.run(["/bin/sh", "-c", "echo from a subprocess"], check=True)

        @app.local_entrypoint()
        def main():
            say.remote()
        """
    )
    shown = done.stdout + done.stderr
    for what in ("python", "stderr", "the descriptor", "a subprocess"):
        assert f"from {what}" in shown


def test_code_in_a_container_calls_other_functions_without_network_or_token(server: RunningServer) -> None:
    done = server.run(
        """
        import os
        import inrush

        app = inrush.App("nested")
        box = inrush.Dict.from_name("nested-box", create_if_missing=True)

        @app.function()
        def inner(n):
            return n + 1

        @app.function(block_network=True)
        def outer(n):
            box["seen"] = n
            return inner.remote(n) + sum(inner.map([1, 2])), "INRUSH_TOKEN" in os.environ

        @app.local_entrypoint()
        def main():
            print(outer.remote(10), box["seen"])
        """
    )
    assert "(16, False) 10" in done.stdout


def test_declared_gpus_are_handed_out_exclusively(server: RunningServer) -> None:
    done = server.run(
        """
        import os, time
        import inrush

        app = inrush.App("cards")

        @app.function(gpu="A10G:2", max_containers=4)
        def cards(n):
            time.sleep(0.5)
            return os.environ["INRUSH_GPU_TYPE"], os.environ["CUDA_VISIBLE_DEVICES"], os.environ["INRUSH_CONTAINER_ID"]

        @app.local_entrypoint()
        def main():
            rows = set(cards.map(range(12)))
            held = [card for _, devices, _ in rows for card in devices.split(",")]
            print({kind for kind, _, _ in rows}, len(held), len(set(held)), len(rows))
        """
    )
    match = re.search(r"\{'A10G'\} (\d+) (\d+) (\d+)", done.stdout)
    assert match is not None
    assert match[1] == match[2] == str(2 * int(match[3]))


def test_a_large_argument_and_a_large_result_arrive_whole(server: RunningServer) -> None:
    done = server.run(
        """
        import hashlib
        import inrush

        app = inrush.App("large")

        @app.function()
        def reverse(data):
            return data[::-1], hashlib.sha256(data).hexdigest()

        @app.local_entrypoint()
        def main():
            data = bytes(range(256)) * 80_000
            back, digest = reverse.remote(data)
            print(back == data[::-1], digest == hashlib.sha256(data).hexdigest())
        """
    )
    assert "True True" in done.stdout


def test_the_process_mode_runs_the_same_program_and_says_loudly_what_it_lacks(own_server: RunningServer) -> None:
    own_server.env["INRUSH_ISOLATION"] = "process"
    own_server.start()
    done = own_server.run(
        """
        import inrush

        app = inrush.App("bare")

        @app.cls()
        class Adder:
            @inrush.enter()
            def load(self):
                self.base = 40

            @inrush.method()
            def add(self, n):
                return self.base + n

        @app.local_entrypoint()
        def main():
            print("sum", Adder().add.remote(2))
        """
    )
    assert "sum 42" in done.stdout
    assert "without any isolation" in own_server.log()
