"""HTTP endpoints: a function for each request, and a whole ASGI application that streams.

inrush serve examples/web.py         prints the URLs, and loads the file again whenever it changes
"""

import inrush

app = inrush.App("web")
image = inrush.Image.debian_slim().pip_install("fastapi")


@app.function(image=image)
@inrush.fastapi_endpoint(docs=True)
def square(x: int) -> dict[str, int]:
    return {"x": x, "square": x * x}


@app.function(image=image)
@inrush.concurrent(max_inputs=100)
@inrush.asgi_app()
def site():
    import asyncio

    from fastapi import FastAPI
    from fastapi.responses import StreamingResponse

    web = FastAPI()

    @web.get("/")
    async def home() -> dict[str, str]:
        return {"try": "/count?to=5"}

    @web.get("/count")
    async def count(to: int = 5) -> StreamingResponse:
        async def numbers():
            for i in range(1, to + 1):
                yield f"{i}\n"
                await asyncio.sleep(0.1)

        return StreamingResponse(numbers(), media_type="text/plain")

    return web
