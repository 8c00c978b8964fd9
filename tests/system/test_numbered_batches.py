"""A batch's number belongs to its body, over crashes and restarts."""

from __future__ import annotations

from tests.fixtures.server import Start


def test_a_number_with_another_body_is_refused_also_after_a_crash(start: Start) -> None:
    process = start()
    numbered = {"X_Tsdb_Producer": "p", "X_Tsdb_Batch": "1"}
    assert process.write("m v=1 1\n", **numbered) == (204, "")
    for how in ("running", "killed", "stopped"):
        status, text = process.write("m v=2 1\n", **numbered)
        assert status == 409, how
        assert "was applied before with other content" in text
        assert process.write("m v=1 1\n", "db=tsdb&precision=s", **numbered)[0] == 409
        assert process.write("m v=1 1\n", **numbered) == (204, "")
        if how == "running":
            process.kill()
        else:
            process.stop()
        process = start()
    with process.connect() as connection:
        assert connection.execute("SELECT v FROM m").fetchall() == [(1.0,)]
