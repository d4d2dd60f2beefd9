"""An audit and its distributions."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Audit",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True, verbose_name="started")),
                (
                    "report_task_id",
                    models.UUIDField(editable=False, null=True, verbose_name="report's task"),
                ),
                (
                    "finished_at",
                    models.DateTimeField(editable=False, null=True, verbose_name="finished"),
                ),
                ("report", models.JSONField(default=dict, editable=False, verbose_name="report")),
            ],
            options={
                "verbose_name": "audit",
                "verbose_name_plural": "audits",
                "ordering": ("-pk",),
            },
        ),
        migrations.CreateModel(
            name="DistributionReport",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("name", models.CharField(max_length=200, verbose_name="name")),
                ("task_id", models.UUIDField(editable=False, verbose_name="task")),
                ("inspected_at", models.DateTimeField(null=True, verbose_name="inspected")),
                ("version", models.CharField(blank=True, max_length=200, verbose_name="version")),
                ("licence", models.CharField(blank=True, max_length=200, verbose_name="licence")),
                ("files", models.PositiveIntegerField(default=0, verbose_name="files")),
                ("verified", models.PositiveIntegerField(default=0, verbose_name="verified files")),
                ("size", models.PositiveBigIntegerField(default=0, verbose_name="bytes")),
                ("lines", models.JSONField(default=dict, verbose_name="lines by language")),
                ("problems", models.JSONField(default=list, verbose_name="problems of files")),
                (
                    "unsatisfied",
                    models.JSONField(default=list, verbose_name="unsatisfied requirements"),
                ),
                ("remarks", models.JSONField(default=list, verbose_name="remarks")),
                (
                    "audit",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="distributions",
                        to="audit.audit",
                    ),
                ),
            ],
            options={
                "verbose_name": "distribution",
                "verbose_name_plural": "distributions",
                "ordering": ("name",),
                "constraints": [
                    models.UniqueConstraint(
                        fields=("audit", "name"), name="audit_one_row_per_distribution"
                    )
                ],
            },
        ),
    ]
