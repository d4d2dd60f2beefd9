"""Addresses of the audit's two pages."""

from __future__ import annotations

from django.urls import path

from demo_project.audit import views

app_name = "audit"
urlpatterns = [
    path("", views.home, name="home"),
    path("audit/<int:audit_id>/", views.audit, name="audit"),
]
