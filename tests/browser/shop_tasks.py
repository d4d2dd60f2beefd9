"""Tasks as a shop has them: what a browser is shown of them goes into the docs' pictures too."""

from __future__ import annotations

import threading
import time

from django_tasks import django_task
from tests.worker.live_tasks import folder, note

HELD = 600.0  # seconds that a catalogue takes at most: as long as a module's tests look at it


class CardRefused(Exception):
    """What the bank says."""


@django_task(name="shop.tasks.send_invoice", queue="mail", retries=0)
def send_invoice(order: int, to: str = "ada@example.com") -> str:
    return f"sent {order} to {to}"


@django_task(name="shop.tasks.charge_card", queue="payments", retries=0)
def charge_card(order: int, why: str = "") -> str:
    if why:
        raise CardRefused(why)
    return "charged"


@django_task(name="shop.tasks.render_catalogue", queue="reports", retries=0)
def render_catalogue(key: str) -> str:
    """Runs until the test lets it go."""
    note(f"began {key}")
    end = time.monotonic() + HELD
    while not (folder() / f"go-{key}").exists() and time.monotonic() < end:
        threading.Event().wait(0.05)
    return key
