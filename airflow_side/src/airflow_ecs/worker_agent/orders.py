"""What the worker was told to do, by whom and until when (docs/adr/0004). No I/O."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal, cast

Kind = Literal["work", "cordon"]
MAX_EXPIRES_SECONDS = 86_400.0
MAX_HOLDER_CHARACTERS = 200


class BadOrderError(ValueError):
    """It is no order; the text says why. The order in force stays."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderRequest:
    """An order as it was given."""

    order: Kind
    expires_seconds: float
    holder: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """An order in force.

    Attributes:
        order: what to do.
        holder: who gave it.
        lapses_at: when it ends, on the monotonic clock.
        until: the same moment on the wall clock, to be shown.
    """

    order: Kind
    holder: str
    lapses_at: float
    until: float


def parse(body: bytes) -> OrderRequest:
    """Read an order; unknown members are ignored.

    Raises:
        BadOrderError: it is none.
    """
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as err:
        raise BadOrderError(f"the order is no JSON: {err}") from err
    if not isinstance(document, dict):
        raise BadOrderError(f"an order is a JSON object, not {type(document).__name__}")
    order = document.get("order")
    if order not in ("work", "cordon"):
        raise BadOrderError(f'"order" is "work" or "cordon", not {order!r}')
    expires: Any = document.get("expires_seconds")
    is_number = isinstance(expires, int | float) and not isinstance(expires, bool)
    if not is_number or not 0 < expires <= MAX_EXPIRES_SECONDS:
        raise BadOrderError(
            f'"expires_seconds" is a number above 0 up to {MAX_EXPIRES_SECONDS:g}, not {expires!r}'
        )
    holder = document.get("holder")
    if not isinstance(holder, str) or not 0 < len(holder) <= MAX_HOLDER_CHARACTERS:
        raise BadOrderError(f'"holder" is a text of 1 to {MAX_HOLDER_CHARACTERS} characters, not {holder!r}')
    return OrderRequest(order=cast("Kind", order), expires_seconds=float(expires), holder=holder)


def take(request: OrderRequest, *, now: float, wall: float) -> Order:
    """Put an order into force from now on."""
    return Order(
        order=request.order,
        holder=request.holder,
        lapses_at=now + request.expires_seconds,
        until=wall + request.expires_seconds,
    )


def in_force(order: Order | None, now: float) -> Order | None:
    """Return the order, or None once it has lapsed: without an order a worker works."""
    return order if order is not None and now < order.lapses_at else None
