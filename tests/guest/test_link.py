"""User code makes calls over the guest's socket, and can ask for which call it runs."""

from __future__ import annotations

import pytest

from guest.guest_process import GuestProcess, arguments, value
from inrush import wire

CALLS = """
from inrush.client.{module} import {name}
from inrush.client import context
other = Function.from_name("app", "other")
def f(x):
    return other.remote(x), context.current_function_call_id(), context.current_input_id()
async def g(x):
    return await other.remote.aio(x)
class C:
    f = staticmethod(f)
    g = staticmethod(g)
""".format(module="function", name="Function")


def answer_one_call(guest: GuestProcess, result: bytes) -> wire.StartCall:
    """Be the server: find the function, take the call, answer it."""
    messages: list[object] = []
    seen = 0

    def link() -> wire.StartCall | None:
        nonlocal seen
        frames = [payloads[0] for header, payloads in guest.frames if header["t"] == "link"]
        for frame in frames[seen:]:
            messages.extend(wire.from_client_decoder.decode(frame))
        seen = len(frames)
        for message in messages:
            if isinstance(message, wire.Ask) and isinstance(message.body, wire.FindFunction):
                spec = wire.FunctionSpec(name="other")
                reply = wire.Answer(message.rid, {"function": "fn-9", "spec": spec, "urls": {}, "pages": {}})
                guest.send({"t": "link"}, wire.encode([reply]))
                messages.remove(message)
        return next((m for m in messages if isinstance(m, wire.StartCall)), None)

    call = guest.until(link, "a call by user code")
    guest.send(
        {"t": "link"}, wire.encode([wire.Accepted(call.call, 10), wire.Results(call.call, (0,), (0,), (result,))])
    )
    return call


@pytest.mark.parametrize("method", ["f", "g"])
def test_user_code_calls_another_function(guest: GuestProcess, method: str) -> None:
    guest.load(CALLS, "C", is_class=True, methods=["f", "g"])
    guest.run("ca-1", arguments(4), method=method)
    call = answer_one_call(guest, arguments())
    assert call.function == "fn-9"
    got = value(guest.result("ca-1")[1])
    assert got == (((), {}), "ca-1", "ca-1:0") if method == "f" else got == ((), {})


def test_a_restricted_function_cannot_call(guest: GuestProcess) -> None:
    guest.load(CALLS, "C", is_class=True, methods=["f"], restrict_access=True)
    error, _ = guest.call(4, method="f")
    assert type(error).__name__ == "PermissionDeniedError"
