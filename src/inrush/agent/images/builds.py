"""Image builds on this node: the agent gets a `Build` and answers with `BuildLine`s and one `Built`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from inrush import wire
from inrush.agent.images.store import ImageStore
from inrush.agent.payloads.blobs import Blobs
from inrush.errors import Error

log = logging.getLogger(__name__)


class Builds:
    """Runs image builds concurrently. The image store builds a layer once, however many builds need it."""

    def __init__(
        self,
        images: ImageStore,
        blobs: Blobs,
        first_uid: Callable[[str], int],
        put: Callable[[wire.FromNode], None],
    ) -> None:
        """`first_uid` tells the first uid of the range that an app's builds run in."""
        self._images = images
        self._blobs = blobs
        self._first_uid = first_uid
        self._put = put

    async def build(self, order: wire.Build) -> None:
        """Carries out one order. A failure is reported in the `Built` message, not raised."""
        try:
            image = await self._images.ensure(
                order.recipe,
                app=order.app,
                environment=order.environment,
                uid_base=self._first_uid(order.app_key),
                env=dict(order.env),
                blobs=self._blobs,
                force=order.force,
                progress=lambda kind, text: self._line(order.build, kind, text),
            )
            built = wire.Built(order.build, image=image.id, python=image.python_version)
        except (Error, OSError) as error:
            code = type(error).__name__ if isinstance(error, Error) else "ImageBuildError"
            built = wire.Built(order.build, code=code, message=str(error))
        except asyncio.CancelledError:
            self._put(wire.Built(order.build, code="CancelledError", message="the server stops"))
            raise
        except Exception as error:
            log.exception("build %s failed by a defect", order.build)
            built = wire.Built(
                order.build, code="InternalError", message=f"the builder failed: {error!r}; see the server's log"
            )
        self._put(built)

    def _line(self, build: str, kind: str, text: str) -> None:
        self._put(wire.BuildLine(build, kind, text))
