"""SQLAlchemy 2 over three drivers: Core, the ORM's reads and writes, reflection; pandas on top."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd
import pytest
import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from tests.session.conftest import Server


class Base(DeclarativeBase):
    pass


class Item(Base):
    __tablename__ = "items"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    name: Mapped[str]
    price: Mapped[float | None]


@pytest.fixture(params=["psycopg", "psycopg2", "pg8000"])
def engine(server: Server, request: pytest.FixtureRequest) -> Iterator[sa.Engine]:
    made = sa.create_engine(f"postgresql+{request.param}://tester@127.0.0.1:{server.port}/tsdb")
    Base.metadata.drop_all(made)
    Base.metadata.create_all(made)
    yield made
    Base.metadata.drop_all(made)
    made.dispose()


def count(session: Session) -> int | None:
    return session.scalar(sa.select(sa.func.count()).select_from(Item))


def test_a_session_reads_what_it_has_flushed(engine: sa.Engine) -> None:
    with Session(engine) as session:
        session.add_all([Item(id=1, name="a", price=1.5), Item(id=2, name="b", price=None)])
        session.flush()
        assert count(session) == 2
        first = session.get(Item, 1)
        assert first is not None
        first.name = "z"
        session.commit()
        found = session.scalars(sa.select(Item).order_by(Item.id)).all()
        assert [(item.id, item.name, item.price) for item in found] == [(1, "z", 1.5), (2, "b", None)]
        session.delete(found[0])
        assert count(session) == 1
        with session.begin_nested() as nested:
            session.add(Item(id=9, name="n", price=1.0))
            session.flush()
            assert count(session) == 2
            nested.rollback()
        assert count(session) == 1
        session.rollback()
        assert count(session) == 2


def test_core_inserts_many_returns_updates_and_deletes(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        connection.execute(sa.insert(Item), [{"id": i, "name": str(i), "price": i / 2} for i in range(10)])
        returned = connection.execute(sa.insert(Item).values(id=50, name="r").returning(Item.id)).scalar()
        updated = connection.execute(sa.update(Item).where(Item.id < 3).values(price=9.0)).rowcount
        deleted = connection.execute(sa.delete(Item).where(Item.price == 9.0)).rowcount
        left = connection.execute(sa.select(sa.func.count(), sa.func.max(Item.id))).one()
    assert (returned, updated, deleted, tuple(left)) == (50, 3, 3, (8, 50))


def test_tables_are_reflected(engine: sa.Engine) -> None:
    inspector = sa.inspect(engine)
    assert "items" in inspector.get_table_names()
    assert [(c["name"], str(c["type"])) for c in inspector.get_columns("items")] == [
        ("id", "INTEGER"), ("name", "VARCHAR"), ("price", "DOUBLE PRECISION"),
    ]  # fmt: skip
    assert inspector.get_pk_constraint("items")["constrained_columns"] == ["id"]


def test_a_frame_of_pandas_goes_and_comes_back(engine: sa.Engine) -> None:
    times = pd.date_range("2020-01-01", periods=5, freq="h", tz="UTC")
    frame = pd.DataFrame({"time": times, "host": list("abcde"), "v": [1.5] * 5, "n": range(5)})
    frame.to_sql("frame", engine, index=False, if_exists="replace")
    frame.to_sql("frame", engine, index=False, if_exists="append", method="multi")
    read = pd.read_sql("SELECT host, v, n FROM frame WHERE n > 3 ORDER BY host", engine)
    assert read.to_numpy().tolist() == [["e", 1.5, 4], ["e", 1.5, 4]]
    whole = pd.read_sql_table("frame", engine)
    assert sorted(whole["time"].unique().tolist()) == times.tolist()
    with engine.begin() as connection:
        connection.execute(sa.text("DROP TABLE frame"))
