"""Settings as programs written for Modal read them: `from inrush.config import config; config.get("environment")`."""

from __future__ import annotations

from typing import Any

from inrush import settings
from inrush.errors import InvalidError


class Config:
    """The settings that count here and now, read again each time."""

    def get(self, key: str) -> Any:
        """The value of a setting. Raises `InvalidError` for a name that is none."""
        values = settings.load()
        if key not in values:
            raise InvalidError(f"{key!r} is no setting; `inrush config` shows all")
        return values[key].value

    def __getitem__(self, key: str) -> Any:
        return self.get(key)

    def to_dict(self) -> dict[str, Any]:
        """All settings by name, without the secret ones."""
        secret = {setting.name for setting in settings.SETTINGS if setting.secret}
        return {name: value.value for name, value in settings.load().items() if name not in secret}


config = Config()
"""The one that programs import."""
