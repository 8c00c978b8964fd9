// What a pgx user does in the first ten minutes: binary parameters and results, batches, COPY. Each line is one finding.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/jackc/pgconn"
	"github.com/jackc/pgx/v4"
	"github.com/jackc/pgx/v4/pgxpool"
)

func say(what string, found string, err error) {
	if err != nil {
		found = "error " + err.Error()
		var e *pgconn.PgError
		if errors.As(err, &e) {
			found = fmt.Sprint("error ", e.Code, " at ", e.Position)
		}
	}
	fmt.Printf("%s: %s\n", what, found)
}

func shown(v interface{}) string {
	if t, ok := v.(time.Time); ok {
		return t.UTC().Format(time.RFC3339Nano)
	}
	return fmt.Sprintf("%T %v", v, v)
}

func rows(set pgx.Rows, err error) (string, error) {
	if err != nil {
		return "", err
	}
	defer set.Close()
	out := ""
	for _, f := range set.FieldDescriptions() {
		out += fmt.Sprintf("%s:%d:%d:%d:%d ", f.Name, f.DataTypeOID, f.DataTypeSize, f.TypeModifier, f.Format)
	}
	for set.Next() {
		values, err := set.Values()
		if err != nil {
			return out, err
		}
		out += "("
		for _, v := range values {
			out += shown(v) + "|"
		}
		out += ")"
	}
	return out, set.Err()
}

func main() {
	all := context.Background()
	c, err := pgx.Connect(all, os.Args[1]+"?sslmode=disable&application_name=tour")
	if err != nil {
		fmt.Println("connect:", err)
		os.Exit(1)
	}
	one := func(what, query string, values ...interface{}) {
		f, e := rows(c.Query(all, query, values...))
		say(what, f, e)
	}
	do := func(what, query string, values ...interface{}) {
		t, e := c.Exec(all, query, values...)
		say(what, t.String(), e)
	}
	do("create", "CREATE TABLE xm (time timestamptz NOT NULL, host text NOT NULL, cpu float8, mem float4, n int8, i int4, s int2, ok bool, d date, arr text[], nums int8[], b bytea, u uuid, PRIMARY KEY (time, host))")
	at := time.Date(2026, 1, 1, 0, 0, 0, 123456000, time.UTC)
	do("insert", "INSERT INTO xm VALUES ($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12,$13)", at, "h0", 1.5, float32(0.25), int64(7), int32(-6), int16(5), true,
		time.Date(2026, 2, 3, 0, 0, 0, 0, time.UTC), []string{"a", "b,c"}, []int64{1, 2}, []byte{0, 255}, "0189b8b6-0000-7000-8000-000000000001")
	do("insert null", "INSERT INTO xm (time, host) VALUES ($1, $2)", at.Add(time.Second), "h1")
	one("select", "SELECT time, host, cpu, mem, n, i, s, ok, d, arr, nums, b, u FROM xm ORDER BY time")
	one("parameters", "SELECT host, cpu FROM xm WHERE time >= $1 AND host = $2 AND n > $3", at, "h0", 3)
	one("any", "SELECT host FROM xm WHERE host = ANY($1) ORDER BY 1", []string{"h0", "x"})
	one("limit", "SELECT host FROM xm ORDER BY time LIMIT $1 OFFSET $2", 1, 1)
	one("aggregate", "SELECT count(*), avg(cpu), max(n), max(time), min(d) FROM xm")
	one("arithmetic", "SELECT $1::int + $2, $3::float8 / 2", 1, 2, 5.0)
	one("error", "SELECT nothing FROM xm")
	one("simple", "SELECT host, cpu FROM xm ORDER BY time", pgx.QuerySimpleProtocol(true))
	batch := &pgx.Batch{}
	for k := 0; k < 3; k++ {
		batch.Queue("SELECT $1::int * 2", k)
	}
	batch.Queue("INSERT INTO xm (time, host) VALUES ($1, 'batch')", at)
	results := c.SendBatch(all, batch)
	for k := 0; k < 3; k++ {
		var v int
		err := results.QueryRow().Scan(&v)
		say(fmt.Sprint("batch ", k), fmt.Sprint(v), err)
	}
	tag, err := results.Exec()
	say("batch insert", tag.String(), err)
	say("batch closed", "", results.Close())
	many, err := c.CopyFrom(all, pgx.Identifier{"xm"}, []string{"time", "host", "cpu", "n", "ok", "arr"}, pgx.CopyFromSlice(1000, func(k int) ([]interface{}, error) {
		return []interface{}{at.Add(time.Duration(k) * time.Minute), "copied", float64(k), int64(k), k%2 == 0, []string{"x"}}, nil
	}))
	say("copy", fmt.Sprint(many), err)
	one("copied", "SELECT count(*), sum(cpu), sum(n) FROM xm WHERE host = 'copied'")
	tx, err := c.Begin(all)
	say("begin", "", err)
	if err == nil {
		_, err = tx.Exec(all, "INSERT INTO xm (time, host) VALUES ($1, 'tx')", at)
		say("in transaction", "", err)
		inner, err := tx.Begin(all)
		say("savepoint", "", err)
		_, err = inner.Exec(all, "INSERT INTO xm (time, host) VALUES ($1, 'tx2')", at)
		say("in savepoint", "", err)
		say("rolled to", "", inner.Rollback(all))
		f, e := rows(tx.Query(all, "SELECT count(*) FROM xm WHERE host LIKE 'tx%'"))
		say("seen", f, e)
		say("rollback", "", tx.Rollback(all))
	}
	few, cancel := context.WithTimeout(all, 300*time.Millisecond)
	_, err = c.Exec(few, "SELECT pg_sleep(20)")
	cancel()
	say("cancelled", fmt.Sprint(err != nil), nil)
	c.Close(all)
	pool, err := pgxpool.Connect(all, os.Args[1]+"?sslmode=disable&pool_max_conns=8")
	say("pool", "", err)
	if err == nil {
		done := make(chan error, 50)
		for k := 0; k < 50; k++ {
			go func(k int) {
				var v int
				err := pool.QueryRow(all, "SELECT $1::int", k).Scan(&v)
				if err == nil && v != k {
					err = fmt.Errorf("%d for %d", v, k)
				}
				done <- err
			}(k)
		}
		for k := 0; k < 50; k++ {
			if err := <-done; err != nil {
				say("pooled", "", err)
			}
		}
		_, err = pool.Exec(all, "DROP TABLE xm")
		say("drop", "", err)
		pool.Close()
	}
}
