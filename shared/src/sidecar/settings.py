"""Settings from the environment and an optional file; a misspelled name is refused, a secret never echoed.

pydantic-settings ignores an unknown variable even with ``extra="forbid"``
(https://github.com/pydantic/pydantic-settings/issues/985): a typing error would silently mean "the
default". Here every variable with the service's prefix must be one we know.
"""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BeforeValidator, Field, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from sidecar.errors import ConfigError
from sidecar.secrets import MASK

_sources: ContextVar[tuple[dict[str, Any], dict[str, Any]]] = ContextVar("settings sources")


def _parse_json(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except json.JSONDecodeError as err:
        raise ValueError(f"is not JSON: {err.msg} at character {err.pos}") from None


FromJson = BeforeValidator(_parse_json)
"""Annotate a list or model field with this: the environment gives it as JSON text."""

JsonList = Annotated[list[str], FromJson]
"""A list of strings, in the environment as a JSON list."""


class SidecarSettings(BaseSettings):
    """What every sidecar can be told. A service adds its own fields and its ``env_prefix``."""

    model_config = SettingsConfigDict(
        extra="forbid", frozen=True, validate_default=False, allow_inf_nan=False
    )

    config_file: Path | None = Field(
        default=None,
        description="TOML or YAML file with the same settings in lower case; variables win over it",
    )
    http_port: int = Field(
        default=9464, ge=0, le=65535, description="Port of /metrics, /healthz and /readyz; 0 turns them off"
    )
    http_host: str = Field(default="0.0.0.0", description="Address the HTTP port is bound to")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="The least severe log line that is written"
    )
    log_format: Literal["auto", "json", "console"] = Field(
        default="auto", description="`auto`: console on a terminal, else one JSON object a line"
    )
    metrics_emf: bool = Field(
        default=False, description="Also write metrics to stdout as CloudWatch embedded metric format"
    )
    stop_timeout_seconds: float = Field(
        default=25.0,
        gt=0,
        description="Time to finish after SIGTERM; keep it under the ECS container's stopTimeout",
    )

    @classmethod
    def prefix(cls) -> str:
        """Return the prefix of this service's variables, e.g. ``WORKER_SCALER_``."""
        return str(cls.model_config.get("env_prefix", "")).upper()

    @classmethod
    def load(cls, environ: Mapping[str, str]) -> Self:
        """Read, check and return the settings.

        Raises:
            ConfigError: with one line per problem; nothing was started.
        """
        given, problems = _from_environment(cls, environ)
        from_file, file_problems = _from_file(cls, given.get("config_file"))
        problems += file_problems
        token = _sources.set((given, from_file))
        try:
            settings = cls()
        except ValidationError as err:
            problems += _validation_problems(cls, err, given)
        finally:
            _sources.reset(token)
        if problems:
            raise ConfigError("The settings are not usable", problems=problems)
        return settings

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Use exactly what :meth:`load` collected: keywords, then variables, then the file."""
        del env_settings, dotenv_settings, file_secret_settings
        given, from_file = _sources.get(({}, {}))
        return (
            init_settings,
            InitSettingsSource(settings_cls, init_kwargs=given),
            InitSettingsSource(settings_cls, init_kwargs=from_file),
        )

    def effective(self) -> Iterator[tuple[str, str]]:
        """Yield each variable's name and the value in force, secrets masked."""
        for name, field in type(self).model_fields.items():
            yield f"{self.prefix()}{name.upper()}", _display(getattr(self, name), field)

    @classmethod
    def to_markdown(cls) -> str:
        """Return the reference table of this service's variables."""
        rows = [
            f"| `{cls.prefix()}{name.upper()}` | {_default(field)} | {field.description or ''} |"
            for name, field in cls.model_fields.items()
        ]
        return "\n".join(["| Variable | Default | Meaning |", "| --- | --- | --- |", *rows])


def nearest(name: str, known: Sequence[str]) -> str:
    """Return `` (did you mean 'x'?)`` for the closest known name, or nothing."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f" (did you mean {close[0]}?)" if close else ""


def _from_environment(
    cls: type[SidecarSettings], environ: Mapping[str, str]
) -> tuple[dict[str, Any], list[str]]:
    """Return the fields given as variables, and a problem per variable nobody knows.

    An empty variable counts as not given: task definitions and compose files pass those freely.
    """
    prefix = cls.prefix()
    known = {f"{prefix}{name.upper()}": name for name in cls.model_fields}
    given = {known[name]: value for name, value in environ.items() if name in known and value != ""}
    unknown = sorted(name for name in environ if name.upper().startswith(prefix) and name not in known)
    return given, [f"{name}: no such setting{nearest(name, list(known))}" for name in unknown]


def _from_file(cls: type[SidecarSettings], path_text: str | None) -> tuple[dict[str, Any], list[str]]:
    if not path_text:
        return {}, []
    path = Path(path_text)
    try:
        values = _parsed(path)
    except ValueError as err:
        return {}, [f"{cls.prefix()}CONFIG_FILE: {path} {err}"]
    names = list(cls.model_fields)
    unknown = sorted(str(key) for key in values if key not in cls.model_fields)
    problems = [f"{path}: no such setting {key!r}{nearest(key, names)}" for key in unknown]
    return {key: value for key, value in values.items() if key in cls.model_fields}, problems


def _parsed(path: Path) -> dict[Any, Any]:
    """Read settings by name; raises ValueError whose text goes on after the file's name."""
    try:
        text = path.read_text(encoding="utf-8")
        values = tomllib.loads(text) if path.suffix == ".toml" else yaml.safe_load(text) or {}
    except OSError as err:
        raise ValueError(f"cannot be read: {err.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8 text") from None
    except yaml.MarkedYAMLError as err:  # its own text quotes the line, and the line may hold a secret
        line = err.problem_mark.line + 1 if err.problem_mark else "?"
        raise ValueError(f"is not valid YAML: {err.problem} in line {line}") from None
    except (tomllib.TOMLDecodeError, yaml.YAMLError) as err:
        raise ValueError(
            f"is not valid {path.suffix.lstrip('.') or 'YAML'}: {err}".replace("\n", " ")
        ) from None
    if not isinstance(values, dict):
        raise ValueError(f"must hold settings by name, not a {type(values).__name__}")  # noqa: TRY004 - a text for people
    return values


def _validation_problems(
    cls: type[SidecarSettings], err: ValidationError, given: Mapping[str, Any]
) -> list[str]:
    lines = []
    for problem in _without_echoes(err.errors(include_url=False, include_context=False)):
        name, *inner = [str(part) for part in problem["loc"]] or [""]
        where = f"{cls.prefix()}{name.upper()}" if name in cls.model_fields else name or "settings"
        path = "".join(f"[{part}]" if part.isdigit() else f".{part}" for part in inner)
        text = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "missing" and not inner:
            text = "is required and not set"
        elif problem["type"] == "extra_forbidden":
            text = "no such field"
        elif name in given and not inner and not _is_secret(cls.model_fields[name]):
            text += f" (got {given[name]!r})"
        lines.append(f"{where}{path}: {text}" if where != "settings" else text)
    return lines


def _without_echoes(problems: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Leave out "too short" of a list whose items were refused: it is short because they were."""
    inner = {problem["loc"][:1] for problem in problems if len(problem["loc"]) > 1}
    return [p for p in problems if not (p["type"] == "too_short" and p["loc"] in inner)]


def _is_secret(field: FieldInfo) -> bool:
    return "SecretStr" in str(field.annotation)


def _display(value: object, field: FieldInfo) -> str:
    if value is None:
        return ""
    if _is_secret(field) or isinstance(value, SecretStr):
        return MASK
    if isinstance(value, (list, tuple, dict)):
        return json.dumps(value, default=lambda item: item.model_dump(mode="json", by_alias=True))
    return str(value).lower() if isinstance(value, bool) else str(value)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    default = field.get_default(call_default_factory=True, validated_data={})
    return f"`{_display(default, field)}`" if default not in (None, "", [], ()) else ""
