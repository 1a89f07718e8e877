"""A program with endpoints, local modules and local files."""

from pathlib import Path

import helping

import inrush

HERE = Path(__file__).parent
app = inrush.App("serving")
image = (
    inrush.Image.host()
    .env({"MODE": "tested"})
    .run_function(helping.leave_mark, args=("built",))
    .add_local_file(HERE / "data" / "copied.txt", "/data/copied.txt", copy=True)
    .add_local_dir(HERE / "data", "/data/over")
)


async def answer(scope, receive, send) -> None:
    """A plain ASGI app."""
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": b"path " + scope["path"].encode()})


@app.function()
@inrush.asgi_app()
def site():
    return answer


@app.function()
@inrush.wsgi_app()
def old_site():
    def wsgi(environ, start):
        start("200 OK", [("content-type", "text/plain")])
        return [b"wsgi " + environ["PATH_INFO"].encode()]

    return wsgi


@app.cls()
class Pages:
    @inrush.enter()
    def prepare(self) -> None:
        self.word = "prepared"

    @inrush.asgi_app(label="pages-of-a-class")
    def site(self):
        async def app(scope, receive, send) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": self.word.encode()})

        return app


@app.function(image=image)
def look() -> dict[str, str]:
    import os

    return {
        "helped": helping.helped(),
        "mode": os.environ["MODE"],
        "built": Path("/opt/mark").read_text(),
        "copied": Path("/data/copied.txt").read_text(),
        "over": Path("/data/over/copied.txt").read_text(),
        "cwd": str(Path.cwd()),
    }
