from __future__ import annotations

from datetime import time
from pathlib import Path
from typing import Annotated

import pytest
from pydantic import BaseModel, Field
from pydantic_settings import SettingsConfigDict

from sidecar.errors import ConfigError
from sidecar.settings import FromJson, SidecarSettings

from .toy import ToySettings


def problems(environ: dict[str, str]) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        ToySettings.load(environ)
    return caught.value.lines()


def test_a_misspelled_variable_is_refused_with_the_nearest_name() -> None:
    lines = problems({"TOY_TARGET": "x", "TOY_INTERVAL_SECOND": "1"})

    assert lines == ("TOY_INTERVAL_SECOND: no such setting (did you mean TOY_INTERVAL_SECONDS?)",)


def test_every_problem_gets_its_own_line() -> None:
    lines = problems({"TOY_TRGET": "x", "TOY_HTTP_PORT": "99999", "TOY_NAMES": "[1,"})

    assert len(lines) == 4
    assert any(line.startswith("TOY_TARGET: is required") for line in lines)
    assert any(line.startswith("TOY_NAMES: is not JSON") for line in lines)
    assert any("99999" in line for line in lines)


def test_a_list_that_is_short_because_its_items_were_refused_is_one_problem() -> None:
    assert problems({"TOY_TARGET": "x", "TOY_NAMES": "[1]"}) == (
        "TOY_NAMES[0]: Input should be a valid string",
    )


def test_variables_of_other_programs_are_none_of_our_business() -> None:
    settings = ToySettings.load({"TOY_TARGET": "x", "HOME": "/", "TOYS": "many"})

    assert settings.target == "x"


def test_an_empty_variable_counts_as_not_given() -> None:
    assert ToySettings.load({"TOY_TARGET": "x", "TOY_HTTP_PORT": ""}).http_port == 9464


@pytest.mark.parametrize(
    ("name", "text"),
    [("c.toml", 'target = "file"\nnames = ["a"]\n'), ("c.yaml", "target: file\nnames: [a]\n")],
)
def test_a_file_gives_what_variables_do_not(tmp_path: Path, name: str, text: str) -> None:
    file = tmp_path / name
    file.write_text(text)

    settings = ToySettings.load({"TOY_CONFIG_FILE": str(file), "TOY_TARGET": "variable"})

    assert (settings.target, settings.names) == ("variable", ["a"])


def test_a_misspelled_name_in_the_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text('targt = "x"\n')

    lines = problems({"TOY_CONFIG_FILE": str(file), "TOY_TARGET": "x"})

    assert lines == (f"{file}: no such setting 'targt' (did you mean target?)",)


@pytest.mark.parametrize("text", ["target = ", "- just\n- a list\n"])
def test_an_unusable_file_is_one_clear_problem(tmp_path: Path, text: str) -> None:
    file = tmp_path / ("c.toml" if "=" in text else "c.yaml")
    file.write_text(text)

    (line,) = problems({"TOY_CONFIG_FILE": str(file), "TOY_TARGET": "x"})

    assert str(file) in line


def test_a_broken_file_is_named_with_its_line_and_not_quoted(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("target: x\ntoken: hunter22: y\n")

    (line,) = problems({"TOY_CONFIG_FILE": str(file), "TOY_TARGET": "x"})

    assert "in line 2" in line
    assert "hunter22" not in line


def test_a_file_that_is_no_text_is_one_clear_problem(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_bytes(b"\xff\xfe")

    (line,) = problems({"TOY_CONFIG_FILE": str(file), "TOY_TARGET": "x"})

    assert "UTF-8" in line


def test_infinite_and_undefined_numbers_are_refused() -> None:
    lines = problems({"TOY_TARGET": "x", "TOY_INTERVAL_SECONDS": "inf", "TOY_STOP_TIMEOUT_SECONDS": "nan"})

    assert len(lines) == 2


def test_a_missing_file_is_one_clear_problem(tmp_path: Path) -> None:
    (line,) = problems({"TOY_CONFIG_FILE": str(tmp_path / "absent.toml"), "TOY_TARGET": "x"})

    assert "cannot be read" in line


class Hours(BaseModel):
    opens: time = Field(alias="from")


class DeepSettings(SidecarSettings):
    model_config = SettingsConfigDict(env_prefix="DEEP_")

    hours: Annotated[tuple[Hours, ...], FromJson] = Field(default=(), description="Models of times")
    names: Annotated[dict[str, str], FromJson] = Field(default={}, description="An object")


def test_models_and_objects_are_shown_as_they_are_written() -> None:
    given = {"DEEP_HOURS": '[{"from": "08:00:00"}]', "DEEP_NAMES": '{"a": "b"}'}

    shown = dict(DeepSettings.load(given).effective())

    assert {name: shown[name] for name in given} == given


def test_a_secret_is_never_shown() -> None:
    settings = ToySettings.load({"TOY_TARGET": "x", "TOY_TOKEN": "hunter22"})

    assert "hunter22" not in f"{dict(settings.effective())} {settings!r}"
    assert dict(settings.effective())["TOY_TOKEN"] == "**********"


def test_a_bad_secret_is_not_quoted_in_the_problem() -> None:
    lines = problems({"TOY_TARGET": "x", "TOY_TOKEN": "shrt"})

    assert "shrt" not in "".join(lines)


def test_the_reference_table_names_every_setting() -> None:
    table = ToySettings.to_markdown()

    for name in ToySettings.model_fields:
        assert f"`TOY_{name.upper()}`" in table
