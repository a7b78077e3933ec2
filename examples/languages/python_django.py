"""Puts from Django; connects by PGHOST, PGPORT, PGDATABASE, PGUSER.

    psql -f outbox.sql; python3 python_django.py STREAM
"""
import os
import sys

import django
from django.conf import settings
from django.db import connection, models, transaction

stream = sys.argv[1]
settings.configure(DATABASES={"default": {
    "ENGINE": "django.db.backends.postgresql",
    "NAME": os.environ["PGDATABASE"], "USER": os.environ["PGUSER"]}},
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField")
django.setup()


class Outbox(models.Model):
    """The view of outbox.sql."""
    stream = models.TextField()
    data = models.JSONField()

    class Meta:
        app_label = "example"
        managed = False
        db_table = "outbox"


def sql(query, *arguments):
    """The first column of a query's rows."""
    with connection.cursor() as cursor:
        cursor.execute(query, arguments)
        return [row[0] for row in cursor.fetchall()]


# the ORM: sent with what else the transaction commits
with transaction.atomic():
    event = Outbox.objects.create(stream=stream, data={"by": "orm"})
print(sql("SELECT firehose_wait(%s)", event.id)[0])

# the function, in autocommit mode
sql("SELECT firehose_put_text(%s, %s)", stream, "by core")

# a test that is rolled back, as TestCase does, sees what would have been sent
with transaction.atomic():
    Outbox.objects.create(stream=stream, data={"by": "test"})
    for data in sql("SELECT convert_from(data, 'UTF8') FROM firehose_pending()"):
        print(data, end="")
    transaction.set_rollback(True)
