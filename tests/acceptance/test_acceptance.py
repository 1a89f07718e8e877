"""The programs that the project exists for, run as their authors wrote them by `inrush run`.

`seed_llm.py` serves a real model, and `seed_eval.py` fans out, queues and retries. GPUs are declared, not real, on a
machine without any.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from running_server import RunningServer

PROGRAMS = Path(__file__).parent


def test_ten_thousand_scores_and_spawned_calls_with_retries(server: RunningServer) -> None:
    done = server.run(PROGRAMS / "seed_eval.py", timeout_s=240)
    score = round(sum(len(f"prompt {i}") / 10 for i in range(10_000)), 1)
    assert f"score {score}" in done.stdout
    assert "[1, 2, 3, 4]" in done.stdout
    assert "gave up after try 4" in done.stdout


@pytest.mark.slow
@pytest.mark.xdist_group("language-model")
@pytest.mark.timeout(1800)
def test_a_real_model_answers_and_the_second_time_from_its_snapshot(server: RunningServer) -> None:
    path = PROGRAMS / "seed_llm.py"
    first = server.run(path, "--prompt", "What is the capital of France?", timeout_s=1700)
    assert "Paris" in first.stdout, first.stdout + first.stderr
    assert "Loading weights" in first.stdout + first.stderr
    second = server.run(path, "--prompt", "What is the capital of Italy?")
    assert re.search("Rome|Italy", second.stdout), second.stdout + second.stderr
    assert "Loading weights" not in second.stdout + second.stderr
