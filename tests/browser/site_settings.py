"""Settings of the site that a browser looks at: a worker's, and what guards a real site: CSRF, and
a Content-Security-Policy that allows nothing in line and nothing from elsewhere."""

from __future__ import annotations

import django

from demo_project.settings import MIDDLEWARE as _MIDDLEWARE
from tests.worker.live_settings import *  # noqa: F403

ROOT_URLCONF = "tests.browser.urls"
POLICY = {
    "default-src": ["'self'"],
    "script-src": ["'self'"],
    "style-src": ["'self'"],
    "img-src": ["'self'", "data:"],
    "object-src": ["'none'"],
    "base-uri": ["'none'"],
    "form-action": ["'self'"],
}
if django.VERSION >= (6,):
    SECURE_CSP = POLICY
    _POLICE = "django.middleware.csp.ContentSecurityPolicyMiddleware"
else:
    _POLICE = "tests.browser.policy.PolicyMiddleware"
MIDDLEWARE = [
    "django_tasks.request_middleware",
    _POLICE,
    *_MIDDLEWARE,
    "django.middleware.locale.LocaleMiddleware",
]
TIME_ZONE = "UTC"
