// What a database/sql user with lib/pq does in the first ten minutes. Each line is one finding.
package main

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"time"

	"github.com/lib/pq"
)

func say(what string, found string, err error) {
	if err != nil {
		found = "error " + err.Error()
		if e, ok := err.(*pq.Error); ok {
			found = "error " + string(e.Code) + " at " + e.Position
		}
	}
	fmt.Printf("%s: %s\n", what, found)
}

type asker interface {
	Query(string, ...interface{}) (*sql.Rows, error)
}

func rows(db asker, query string, values ...interface{}) (string, error) {
	set, err := db.Query(query, values...)
	if err != nil {
		return "", err
	}
	defer set.Close()
	types, err := set.ColumnTypes()
	if err != nil {
		return "", err
	}
	out := ""
	for _, t := range types {
		length, bounded := t.Length()
		precision, scale, decimal := t.DecimalSize()
		out += fmt.Sprintf("%s:%s:%v:%v:%v/%v/%v ", t.Name(), t.DatabaseTypeName(), length, bounded, precision, scale, decimal)
	}
	cells := make([]interface{}, len(types))
	into := make([]interface{}, len(types))
	for i := range cells {
		into[i] = &cells[i]
	}
	for set.Next() {
		if err := set.Scan(into...); err != nil {
			return out, err
		}
		out += "("
		for _, cell := range cells {
			switch v := cell.(type) {
			case []byte:
				out += fmt.Sprintf("%T %s|", cell, v)
			case time.Time:
				out += v.UTC().Format(time.RFC3339Nano) + "|"
			default:
				out += fmt.Sprintf("%T %v|", cell, v)
			}
		}
		out += ")"
	}
	return out, set.Err()
}

func exec(db interface {
	Exec(string, ...interface{}) (sql.Result, error)
}, query string, values ...interface{}) (string, error) {
	done, err := db.Exec(query, values...)
	if err != nil {
		return "", err
	}
	many, err := done.RowsAffected()
	return fmt.Sprint(many), err
}

func main() {
	db, err := sql.Open("postgres", os.Args[1]+"?sslmode=disable&application_name=tour")
	if err != nil {
		panic(err)
	}
	step := func(what string, found string, err error) { say(what, found, err) }
	step("ping", "", db.Ping())
	one := func(what, query string, values ...interface{}) { f, e := rows(db, query, values...); step(what, f, e) }
	do := func(what, query string, values ...interface{}) { f, e := exec(db, query, values...); step(what, f, e) }
	do("create", "CREATE TABLE gm (time timestamptz NOT NULL, host text NOT NULL, cpu float8, n int8, ok bool, num numeric(12,3), v varchar(20), PRIMARY KEY (time, host))")
	at := time.Date(2026, 1, 1, 0, 0, 0, 123456000, time.UTC)
	do("insert", "INSERT INTO gm VALUES ($1, $2, $3, $4, $5, $6, $7)", at, "h0", 1.5, int64(7), true, "12.5", "v")
	do("insert null", "INSERT INTO gm VALUES ($1, $2, $3, $4, $5, $6, $7)", at.Add(time.Second), "h1", nil, nil, nil, nil, nil)
	one("select", "SELECT * FROM gm ORDER BY time")
	one("parameters", "SELECT host, cpu FROM gm WHERE time >= $1 AND host = $2", at, "h0")
	one("any", "SELECT host FROM gm WHERE host = ANY($1) ORDER BY 1", pq.Array([]string{"h0", "x,\"y\""}))
	one("aggregate", "SELECT count(*), avg(cpu), sum(n), max(time) FROM gm")
	one("panel", "SELECT floor(extract(epoch from time)/300)*300 AS time, host AS metric, avg(cpu) AS cpu FROM gm WHERE time BETWEEN '2026-01-01T00:00:00Z' AND '2026-01-02T00:00:00.123Z' GROUP BY 1, 2 ORDER BY 1, 2")
	one("error", "SELECT nothing FROM gm")
	one("bad parameter", "SELECT $1::int", "x")
	statement, err := db.Prepare("SELECT cpu FROM gm WHERE host = $1")
	step("prepare", "", err)
	for k := 0; k < 3; k++ {
		var cpu sql.NullFloat64
		err := statement.QueryRow(fmt.Sprintf("h%d", k%2)).Scan(&cpu)
		step(fmt.Sprint("prepared ", k), fmt.Sprint(cpu), err)
	}
	tx, err := db.Begin()
	step("begin", "", err)
	f, e := exec(tx, "INSERT INTO gm (time, host) VALUES ($1, 'tx')", at)
	step("in transaction", f, e)
	f, e = rows(tx, "SELECT count(*) FROM gm WHERE host = 'tx'")
	step("seen", f, e)
	step("rollback", "", tx.Rollback())
	one("gone", "SELECT count(*) FROM gm WHERE host = 'tx'")
	tx, err = db.Begin()
	step("begin copy", "", err)
	in, err := tx.Prepare(pq.CopyIn("gm", "time", "host", "cpu"))
	step("copy", "", err)
	if err == nil {
		for k := 0; k < 100; k++ {
			if _, err := in.Exec(at.Add(time.Duration(k)*time.Minute), "copied", float64(k)); err != nil {
				step("copy row", "", err)
			}
		}
		_, err = in.Exec()
		step("copied", "", err)
		step("copy closed", "", in.Close())
	}
	step("commit", "", tx.Commit())
	one("copied rows", "SELECT count(*), sum(cpu) FROM gm WHERE host = 'copied'")
	few, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	_, err = db.ExecContext(few, "SELECT pg_sleep(20)")
	cancel()
	step("cancel", "", err)
	one("after", "SELECT 1")
	listener := pq.NewListener(os.Args[1]+"?sslmode=disable", time.Second, time.Second, nil)
	step("listen", "", listener.Listen("tour_go"))
	do("notify", "SELECT pg_notify('tour_go', 'hello')")
	select {
	case n := <-listener.Notify:
		step("heard", n.Channel+" "+n.Extra, nil)
	case <-time.After(5 * time.Second):
		step("heard", "nothing", nil)
	}
	listener.Close()
	do("drop", "DROP TABLE gm")
}
