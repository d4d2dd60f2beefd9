"""Settings of the tests: SQLite unless UNCUT_TEST_DATABASE says "postgres" or "mysql"."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from tests.mysql_driver import require_driver

BASE_DIR = Path(__file__).resolve().parent.parent
SECRET_KEY = "only for tests"
USE_TZ = True
DEBUG = False
ROOT_URLCONF = "demo_project.urls"
ALLOWED_HOSTS = ["*"]
STATIC_URL = "static/"

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "django_tasks",
    "demo_project.audit",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

# A worker is another process: an in-memory database would not be the same one.
_FOLDER = Path(tempfile.gettempdir()) / f"uncut-tests-{os.getuid()}"
_FOLDER.mkdir(mode=0o700, exist_ok=True)
_SQLITE = {
    "ENGINE": "django.db.backends.sqlite3",
    "NAME": str(_FOLDER / f"{os.getpid()}.sqlite3"),
    "TEST": {"NAME": str(_FOLDER / f"test-{os.getpid()}.sqlite3")},
    "OPTIONS": {
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
    },
}
_POSTGRES = {
    "ENGINE": "django.db.backends.postgresql",
    "NAME": "postgres",
    "USER": os.environ.get("PGUSER", "postgres"),
    "HOST": os.environ.get("PGHOST", "127.0.0.1"),
    "PORT": os.environ.get("PGPORT", "5432"),
    "TEST": {"NAME": f"test_uncut_{os.getpid()}"},
}
_MYSQL = {
    "ENGINE": "django.db.backends.mysql",
    "NAME": "",
    "USER": os.environ.get("MYSQL_USER", "root"),
    "PASSWORD": os.environ.get("MYSQL_PWD", ""),
    "HOST": os.environ.get("MYSQL_HOST", "127.0.0.1"),
    "PORT": os.environ.get("MYSQL_TCP_PORT", "3306"),
    "TEST": {"NAME": f"test_uncut_{os.getpid()}", "CHARSET": "utf8mb4"},
}
SERVERS = {"sqlite": _SQLITE, "postgres": _POSTGRES, "mysql": _MYSQL}
_CHOSEN = os.environ.get("UNCUT_TEST_DATABASE") or "sqlite"
if _CHOSEN == "mysql":
    require_driver()
DATABASES = {"default": SERVERS[_CHOSEN]}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# Each test that needs a broker starts or is given one (conftest.py); nothing listens here.
DJANGO_TASKS = {
    "BROKER": "redis://127.0.0.1:1/0",
    "PREFIX": "tests",
    "MODULES": ["tests.tasks"],
}
