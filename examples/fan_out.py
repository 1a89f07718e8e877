"""Many inputs at once, work that outlives its caller, and retries.

inrush run examples/fan_out.py --n 10000
"""

import uuid

import inrush

app = inrush.App("fan-out")


@app.function()
@inrush.concurrent(max_inputs=64)
def score(text: str) -> float:
    return len(set(text)) / len(text)


@app.function(retries=inrush.Retries(max_retries=3, initial_delay=0.1))
def flaky(job: str, failures: int) -> int:
    """Fails as often as it is told to; a Dict that all containers share counts the tries."""
    tries = inrush.Dict.from_name("fan-out-tries", create_if_missing=True)
    tries[job] = tries.get(job, 0) + 1
    if tries[job] <= failures:
        raise ConnectionError(f"try {tries[job]} failed")
    return tries[job]


@app.local_entrypoint()
def main(n: int = 10_000):
    texts = [f"text number {i}" for i in range(n)]
    scores = list(score.map(texts))
    best = max(range(n), key=scores.__getitem__)
    print(f"scored {len(scores)} texts; the best is {texts[best]!r}")

    jobs = [flaky.spawn(uuid.uuid4().hex, failures) for failures in range(4)]
    print("tries:", [job.get(timeout=60) for job in jobs])

    hopeless = flaky.spawn(uuid.uuid4().hex, 99)
    try:
        hopeless.get(timeout=60)
    except ConnectionError as error:
        print("gave up:", error)
