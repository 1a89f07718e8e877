"""Each example runs as its first lines say."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from math import hypot
from pathlib import Path

import httpx
import pytest

from running_server import RunningServer, poll

EXAMPLES = Path(__file__).parent.parent.parent / "examples"


def run(server: RunningServer, *args: str, timeout_s: float = 240) -> str:
    """What `inrush …` prints."""
    command = [sys.executable, "-m", "inrush", *args]
    done = subprocess.run(command, env=server.env, capture_output=True, text=True, timeout=timeout_s)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\n--- server ---\n{server.log()}"
    return done.stdout


def test_hello_is_what_the_readme_shows_and_measures_in_containers(server: RunningServer):
    program = EXAMPLES / "hello.py"
    shown = re.search(r"```python\n(.*?)```", (EXAMPLES.parent / "README.md").read_text(), re.DOTALL)
    assert shown is not None
    assert program.read_text().endswith(f'"""\n\n{shown[1]}')
    assert run(server, "run", str(program), "--n", "100") == f"5.0\n{sum(hypot(n, 1) for n in range(100))}\n"


def test_fan_out_scores_every_text_and_retries_what_fails(server: RunningServer):
    said = run(server, "run", str(EXAMPLES / "fan_out.py"), "--n", "2000")
    assert "scored 2000 texts" in said
    assert "tries: [1, 2, 3, 4]" in said
    assert "gave up: try 4 failed" in said


class Serving:
    """`inrush serve` of a program, and what it has printed."""

    def __init__(self, server: RunningServer, program: Path, log: Path) -> None:
        self._log = log
        command = [sys.executable, "-u", "-m", "inrush", "serve", str(program)]
        with log.open("wb") as output:
            self.process = subprocess.Popen(command, env=server.env, stdout=output, stderr=output)

    def said(self) -> str:
        return self._log.read_text()

    def wait_until_serving(self, times: int) -> None:
        poll(lambda: self.process.poll() is not None or self.said().count("serving;") == times, 240, self.said)
        assert self.process.poll() is None, self.said()

    def url(self, name: str) -> str:
        return re.findall(rf"{name} is at (\S+)", self.said())[-1]

    def interrupt(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(60)


@pytest.fixture(scope="module")
def serving(server: RunningServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Serving, Path]]:
    folder = tmp_path_factory.mktemp("web")
    program = shutil.copy(EXAMPLES / "web.py", folder / "web_example.py")
    made = Serving(server, program, folder / "log")
    try:
        made.wait_until_serving(1)
        yield made, program
    finally:
        made.process.kill()
        made.process.wait()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_web_serves_functions_and_streams(serving: tuple[Serving, Path]):
    served, _ = serving
    with httpx.Client(timeout=60, trust_env=False) as client:
        assert client.get(served.url("square"), params={"x": 7}).json() == {"x": 7, "square": 49}
        assert client.get(served.url("square"), params={"x": "seven"}).status_code == 422
        with client.stream("GET", served.url("site") + "/count", params={"to": 3}) as response:
            pieces = list(response.iter_text())
    assert "".join(pieces) == "1\n2\n3\n"
    assert len(pieces) > 1, "it came in one piece, so it was not streamed"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_serve_loads_a_change_waits_out_a_broken_one_and_ends_with_ctrl_c(serving: tuple[Serving, Path]):
    served, program = serving
    text = program.read_text()

    def cube() -> object:
        with httpx.Client(timeout=60, trust_env=False) as client:
            return client.get(served.url("square"), params={"x": 2}).json()["square"]

    program.write_text(text.replace("x * x", "x * x * x"))
    served.wait_until_serving(2)
    assert cube() == 8
    program.write_text(text + "broken(")
    poll(lambda: "was never closed" in served.said(), 60, served.said)
    assert cube() == 8
    url = served.url("square")
    assert served.interrupt() == 130
    assert httpx.get(url, params={"x": 2}, trust_env=False).status_code == 404


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.xdist_group("language-model")
def test_the_language_model_answers_and_a_deployed_one_answers_at_its_url(server: RunningServer):
    program = str(EXAMPLES / "llm.py")
    question = "What is the capital of France?"
    said = run(server, "run", program, "--prompt", question, timeout_s=1200)
    assert "Paris" in said
    url = re.findall(r"ask is at (\S+)", run(server, "deploy", program))[0]
    try:
        answer = httpx.get(url, params={"prompt": question}, timeout=120, trust_env=False).json()
        assert answer == "The capital of France is Paris."
        assert answer in said
    finally:
        run(server, "app", "stop", "llm")
