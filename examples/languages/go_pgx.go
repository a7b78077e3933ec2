// Puts from Go's pgx; connects by PGHOST, PGPORT, PGDATABASE, PGUSER.
//
//	go run go_pgx.go STREAM FULL_STREAM
//
// The queue of FULL_STREAM has no room: what to do then is shown, too.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/jackc/pgx/v5"
)

var ctx = context.Background()

// must ends the program on an error.
func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// exec runs a statement of a transaction that has to succeed.
func exec(tx pgx.Tx, query string, arguments ...any) {
	_, err := tx.Exec(ctx, query, arguments...)
	must(err)
}

// sqlstate is the SQLSTATE of an error, "" if it has none.
func sqlstate(err error) string {
	var e interface{ SQLState() string }
	if errors.As(err, &e) {
		return e.SQLState()
	}
	return ""
}

// putPatiently puts in a transaction that goes on if the queue stays full.
func putPatiently(tx pgx.Tx, stream, text string) bool {
	for attempt := 0; attempt < 3; attempt++ {
		// a transaction in a transaction is a savepoint
		savepoint, err := tx.Begin(ctx)
		must(err)
		_, err = savepoint.Exec(ctx, "SELECT firehose_put_text($1, $2)", stream, text)
		if err == nil {
			must(savepoint.Commit(ctx))
			return true
		}
		if sqlstate(err) != "53000" {
			log.Fatal(err)
		}
		must(savepoint.Rollback(ctx))
		time.Sleep(100 * time.Millisecond << attempt)
	}
	return false
}

func main() {
	stream, full := os.Args[1], os.Args[2]
	db, err := pgx.Connect(ctx, "sslmode=disable")
	must(err)

	// one record; sent when the transaction commits
	tx, err := db.Begin(ctx)
	must(err)
	exec(tx, "SELECT firehose_put_json($1, $2)", stream, `{"page": "/", "n": 1}`)
	exec(tx, "SELECT firehose_put_text($1, $2)", stream, "line")
	exec(tx, "SELECT firehose_put_bytes($1, $2)", stream, []byte{0x00, 0xff, 0x0a})
	exec(tx, "CALL firehose_send($1, $2)", stream, `{"sent": true}`)

	// several
	exec(tx, "SELECT firehose_put_jsons($1, $2)", stream, `[{"n": 2}, {"n": 3}]`)
	exec(tx, "SELECT firehose_put_texts($1, $2)", stream, []string{"a", "b"})
	exec(tx, "SELECT firehose_put_texts($1, $2)", stream, []string{})
	exec(tx, "SELECT firehose_put_bytes_array($1, $2)", stream, [][]byte{{0x01}, []byte(`\x02`)})
	must(tx.Commit(ctx))

	// what is rolled back is not sent, unless it is put at once
	tx, err = db.Begin(ctx)
	must(err)
	exec(tx, "SELECT firehose_put_text($1, 'rolled back')", stream)
	exec(tx, "SELECT firehose_put_text($1, 'at once', false)", stream)
	must(tx.Rollback(ctx))

	// the outcome
	var id int64
	var outcome string
	must(db.QueryRow(ctx, "SELECT firehose_put_text($1, 'waited for')", stream).Scan(&id))
	must(db.QueryRow(ctx, "SELECT firehose_wait($1)", id).Scan(&outcome))
	fmt.Println(outcome)

	tx, err = db.Begin(ctx)
	must(err)
	if !putPatiently(tx, full, "never sent") {
		fmt.Println("full")
	}
	exec(tx, "SELECT firehose_put_text($1, 'went on')", stream)
	must(tx.Commit(ctx))

	// an error that no other attempt mends
	_, err = db.Exec(ctx, "SELECT firehose_put_json($1, $2)", stream, "no JSON")
	fmt.Println(sqlstate(err))
	must(db.Close(ctx))
}
