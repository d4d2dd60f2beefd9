"""The workflow that an audit is."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("audit", "0002_unverified")]

    operations = [
        migrations.AddField(
            model_name="audit",
            name="workflow_id",
            field=models.UUIDField(editable=False, null=True, verbose_name="workflow"),
        ),
    ]
