"""Puts from SQLAlchemy; connects by PGHOST, PGPORT, PGDATABASE, PGUSER.

    psql -f outbox.sql; python3 python_sqlalchemy.py STREAM
"""
import sys

from sqlalchemy import BigInteger, Column, Text, create_engine, func, select
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Session, declarative_base

stream = sys.argv[1]
engine = create_engine("postgresql+psycopg2://")
Base = declarative_base()


class Outbox(Base):
    """The view of outbox.sql."""
    __tablename__ = "outbox"
    id = Column(BigInteger, primary_key=True)
    stream = Column(Text)
    data = Column(JSONB)


# the ORM: sent with what else the session commits; there is no row to read again
with Session(engine, expire_on_commit=False) as session:
    event = Outbox(stream=stream, data={"by": "orm"})
    session.add(event)
    session.commit()
    print(session.execute(select(func.firehose_wait(event.id))).scalar())

# Core: a put is a SELECT, which only a transaction of one's own commits
with engine.begin() as connection:
    connection.execute(select(func.firehose_put_text(stream, "by core")))

# a test that is rolled back sees what would have been sent
with Session(engine) as session:
    session.add(Outbox(stream=stream, data={"by": "test"}))
    session.flush()
    for data in session.execute(select(func.convert_from(
            func.firehose_pending().table_valued("id", "stream", "data").c.data,
            "UTF8"))).scalars():
        print(data, end="")
    session.rollback()
