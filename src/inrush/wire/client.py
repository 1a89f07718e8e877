"""The link of client and server: the messages that open it, and the unions of both directions."""

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
    Received,
    Resend,
    Results,
    ResumeCall,
    Retried,
    StartCall,
)
from inrush.wire.structs import Message


class Hello(Message, frozen=True):
    """The first message of a client. The client chooses its id `client`, and keeps it when it connects again."""

    client: str
    token: str = ""
    protocol: int = PROTOCOL
    version: str = ""
    environment: str = ""
    """The environment in which names are looked up that come without one. Empty means the token's, or else `main`."""


class Welcome(Message, frozen=True):
    """The server accepts the client. `boot` changes with each start of the server; a client that sees a new one resumes
    its calls. `python` is the minor version of the server's Python, and so of `Image.host()`. In the
    `background` nobody but clients starts it again."""

    boot: str
    version: str = ""
    python: str = ""
    background: bool = False


class Rejected(Message, frozen=True):
    """The server rejects the client, and then closes the link."""

    code: str
    message: str


FromClient = (
    Hello
    | Ask
    | Unfollow
    | StartCall
    | Inputs
    | EndInputs
    | ResumeCall
    | AwaitCall
    | CancelCall
    | ForgetCall
    | Grant
    | Received
)

ToClient = (
    Welcome
    | Rejected
    | Answer
    | Refused
    | Progress
    | Log
    | State
    | Accepted
    | CallRefused
    | Results
    | Items
    | Resend
    | Retried
)

from_client_decoder: BatchDecoder[FromClient] = BatchDecoder(FromClient)
to_client_decoder: BatchDecoder[ToClient] = BatchDecoder(ToClient)
