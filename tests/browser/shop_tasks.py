"""Tasks as a shop has them: what a browser is shown of them goes into the docs' pictures too."""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import Any

from django_tasks import django_task
from tests.worker.live_tasks import folder, note

HELD = 600.0  # seconds that a catalogue takes at most: as long as a module's tests look at it


class CardRefused(Exception):
    """What the bank says."""

    __module__ = "shop.bank"


class CarrierAway(Exception):
    """No parcel can be booked."""

    __module__ = "shop.carrier"


@django_task(name="shop.tasks.send_invoice", queue="mail", retries=0)
def send_invoice(order: int, to: str = "ada@example.com") -> str:
    return f"sent {order} to {to}"


@django_task(name="shop.tasks.charge_card", queue="payments", retries=0)
def charge_card(order: int, why: str = "") -> str:
    if why:
        raise CardRefused(why)
    if (folder() / "bank-is-shut").exists():
        raise CardRefused("the bank is shut")
    return "charged"


@django_task(
    name="shop.tasks.book_parcel", queue="payments", retries=1, backoff=0.4, takes_context=True
)
def book_parcel(context: Any, order: int, *, express: bool = False) -> str:
    """Its carrier never answers."""
    context.log("asking the carrier about order %d", order)
    threading.Event().wait(0.2)  # its time-out
    try:
        raise ConnectionRefusedError(111, "Connection refused")
    except OSError as error:
        raise CarrierAway("parcels.example.com does not answer") from error


@django_task(name="shop.tasks.take_order", queue="payments", retries=0)
def take_order(order: int) -> dict[str, Any]:
    charge_card.enqueue(order)
    book_parcel.using(priority=5).enqueue(order, express=True)
    return {"order": order, "positions": 3, "total": "79.90"}


@django_task(name="shop.tasks.resize_photos", queue="reports", retries=0, max_lost=1)
def resize_photos(folder: str) -> None:
    """Takes more memory than there is; the kernel does to it what the kernel does."""
    os.kill(os.getpid(), signal.SIGKILL)


@django_task(name="shop.tasks.render_catalogue", queue="reports", retries=0, takes_context=True)
def render_catalogue(context: Any, key: str) -> str:
    """Runs until the test lets it go."""
    note(f"began {key}")
    context.progress(146, 400, "shoes and boots")
    for chapter in ("hats", "coats", "shoes and boots"):
        context.log("chapter %s begun", chapter)
    end = time.monotonic() + HELD
    while not (folder() / f"go-{key}").exists() and time.monotonic() < end:
        threading.Event().wait(0.05)
    return key
