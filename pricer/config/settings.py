"""All sections as one value, and how it comes to be."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pydantic import ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from pricer.config.alerts import AlertsSection
from pricer.config.engine import EngineSection
from pricer.config.feed import FeedSection
from pricer.config.reading import PREFIX, from_environment, from_file, merge
from pricer.config.refusals import describe
from pricer.config.server import ServerSection
from pricer.errors import ConfigError

if TYPE_CHECKING:
    from pricer.engine import EngineSettings


class Settings(BaseSettings):
    """All settings. `Settings()` is the defaults; `Settings.load()` reads the file and the environment, too."""

    model_config = SettingsConfigDict(
        extra="forbid", frozen=True, env_prefix=PREFIX, env_nested_delimiter="__", hide_input_in_errors=True
    )

    feed: FeedSection = FeedSection()
    engine: EngineSection = EngineSection()
    server: ServerSection = ServerSection()
    alerts: AlertsSection = AlertsSection()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what is passed: tests and embedders must not depend on the environment by accident."""
        return (init_settings,)

    @classmethod
    def load(cls, path: str | Path | None = None, **overrides: Mapping[str, Any]) -> Self:
        """The settings from the TOML file at `path` (none by default), the environment and `overrides`.

        >>> Settings.load(server={"port": 9000}).server.port
        9000
        """
        merged = merge(from_file(path), from_environment(cls), overrides)
        try:
            return cls(**merged)
        except ValidationError as error:
            raise ConfigError("; ".join(describe(error, cls))) from error

    def engine_settings(self) -> EngineSettings:
        """The engine's own form of its section: integer nanoseconds."""
        return self.engine.to_engine()
