"""The outside of the product: setting names that other programs and people rely on."""

from __future__ import annotations

import importlib

import pytest

from sidecar.settings import SidecarSettings

COMMON = ["CONFIG_FILE", "HTTP_PORT", "HTTP_HOST", "LOG_LEVEL", "LOG_FORMAT", "STOP_TIMEOUT_SECONDS"]
CONTRACT = {
    "worker_scaler": [
        *("DATABASE_URL", "DATABASE_SECRET_ID", "SOURCE", "API_URL", "API_USERNAME", "API_PASSWORD"),
        *("API_PASSWORD_SECRET_ID", "COMMAND", "FLEETS", "INTERVAL_SECONDS", "DRY_RUN"),
    ],
    "dags_agent": [
        *(
            "SOURCE",
            "TARGET",
            "INTERVAL_SECONDS",
            "PUBLISH",
            "EVENTS_QUEUE_URL",
            "KEEP_RELEASES",
            "KEEP_HOURS",
        ),
        *("MAX_DELETE_FRACTION", "EXCLUDE", "INCLUDE", "VALIDATE"),
    ],
    "standalone_init": [
        *("DATABASE_URL", "DATABASE_SECRET_ID", "OBJECTS_FILE", "FILES_FILE", "SECRETS", "SNAPSHOT"),
        *("STOP_SERVICES", "AIRFLOW_COMMAND", "LOCK_TIMEOUT_SECONDS", "REPORT"),
    ],
    "log_forwarder": [
        *("STREAM", "TAIL", "FORWARD", "DOCKER", "STDIN", "STATE_DIR", "DISK_BUDGET_MIB", "WHEN_FULL"),
        *("FORMAT", "COMPRESSION", "FLUSH_SECONDS", "STOP_TIMEOUT_SECONDS"),
    ],
}


def settings_of(service: str) -> type[SidecarSettings]:
    module = importlib.import_module(f"{service}.settings")
    classes = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, SidecarSettings) and value is not SidecarSettings
    ]
    (found,) = [candidate for candidate in classes if candidate.__module__ == module.__name__]
    return found


@pytest.mark.parametrize("service", CONTRACT)
def test_every_name_of_the_contract_is_a_setting(service: str) -> None:
    known = {name.upper() for name in settings_of(service).model_fields}

    assert set(CONTRACT[service]) | set(COMMON) <= known
    assert settings_of(service).prefix() == f"{service.upper()}_"


@pytest.mark.parametrize("service", CONTRACT)
def test_every_setting_says_what_it_is_for(service: str) -> None:
    for name, field in settings_of(service).model_fields.items():
        assert field.description, name
        assert len(field.description) > 10, name
