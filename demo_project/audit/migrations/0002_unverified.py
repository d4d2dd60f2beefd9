"""Why a distribution could not be verified."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("audit", "0001_initial")]

    operations = [
        migrations.AddField(
            model_name="distributionreport",
            name="unverified",
            field=models.JSONField(default=list, verbose_name="why not verified"),
        ),
    ]
