"""The link of a client and the server: how it opens, and all that is said on it, either way."""

from __future__ import annotations

from inrush.wire.answers import Answer, Log, Progress, Refused, State
from inrush.wire.asks import Ask, Unfollow
from inrush.wire.batches import PROTOCOL, BatchDecoder
from inrush.wire.calls import (
    Accepted,
    AwaitCall,
    CallRefused,
    CancelCall,
    EndInputs,
    ForgetCall,
    Grant,
    Inputs,
    Items,
    Resend,
    Results,
    ResumeCall,
    StartCall,
)
from inrush.wire.structs import Message


class Hello(Message, frozen=True):
    """First message of a client. `client` is made by the client and stays the same when it connects again."""

    client: str
    token: str = ""
    protocol: int = PROTOCOL
    version: str = ""
    environment: str = ""
    """Where names are looked up that come without an environment; empty: the token's own, else `main`."""


class Welcome(Message, frozen=True):
    """The server takes the client. `boot` changes with each start of the server: a client that sees a new one resumes
    its calls."""

    boot: str
    version: str = ""


class Rejected(Message, frozen=True):
    """The server does not take the client; the link is closed after it."""

    code: str
    message: str


FromClient = (
    Hello | Ask | Unfollow | StartCall | Inputs | EndInputs | ResumeCall | AwaitCall | CancelCall | ForgetCall | Grant
)

ToClient = (
    Welcome | Rejected | Answer | Refused | Progress | Log | State | Accepted | CallRefused | Results | Items | Resend
)

from_client_decoder: BatchDecoder[FromClient] = BatchDecoder(FromClient)
to_client_decoder: BatchDecoder[ToClient] = BatchDecoder(ToClient)
