"""Logging: structlog, one JSON object a line, or a readable line on a terminal; known secrets masked."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

import structlog

from sidecar.secrets import mask

if TYPE_CHECKING:
    from structlog.typing import Processor


def configure(*, service: str, level: str, log_format: str) -> None:
    """Set up logging for the process: structlog and the standard library write the same lines to stdout.

    Args:
        service: put on every line.
        level: ``debug``, ``info``, ``warning`` or ``error``.
        log_format: ``json``, ``console``, or ``auto`` (console on a terminal).
    """
    as_console = log_format == "console" or (log_format == "auto" and sys.stdout.isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    renderer: Processor = (
        structlog.dev.ConsoleRenderer()
        if as_console
        else structlog.processors.JSONRenderer(ensure_ascii=False, default=str)
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        _Masking(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    own = logging.getLevelNamesMapping()[level.upper()]
    root.setLevel(max(logging.WARNING, own))  # libraries speak when something is wrong
    logging.getLogger(service).setLevel(own)


class _Masking(structlog.stdlib.ProcessorFormatter):
    """Masks known secrets in the whole line: in facts, lists, and somebody else's exception text."""

    def format(self, record: logging.LogRecord) -> str:
        return mask(super().format(record))
