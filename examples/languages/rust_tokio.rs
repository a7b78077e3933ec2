// Puts from Rust's tokio-postgres; connects by PGHOST, PGPORT, PGDATABASE, PGUSER.
//
//     cargo run -- STREAM FULL_STREAM
//
// The queue of FULL_STREAM has no room: what to do then is shown, too.
use std::{env, error::Error, time::Duration};

use tokio::time::sleep;
use tokio_postgres::{error::SqlState, NoTls, Transaction};

// Put in a transaction that goes on if the queue stays full.
async fn put_patiently(transaction: &mut Transaction<'_>, stream: &str, text: &str) -> Result<bool, tokio_postgres::Error> {
    for attempt in 0..3 {
        // a transaction in a transaction is a savepoint
        let savepoint = transaction.transaction().await?;
        match savepoint.execute("SELECT firehose_put_text($1, $2)", &[&stream, &text]).await {
            Ok(_) => {
                savepoint.commit().await?;
                return Ok(true);
            }
            Err(error) if error.code() == Some(&SqlState::INSUFFICIENT_RESOURCES) => savepoint.rollback().await?, // 53000
            Err(error) => return Err(error),
        }
        sleep(Duration::from_millis(100 << attempt)).await;
    }
    Ok(false)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().collect();
    let (stream, full) = (&arguments[1], &arguments[2]);
    let parameters = ["HOST", "PORT", "DATABASE", "USER"].map(|name| env::var(format!("PG{name}")).unwrap_or_default());
    let [host, port, dbname, user] = &parameters;
    let (mut client, connection) =
        tokio_postgres::connect(&format!("host={host} port={port} dbname={dbname} user={user}"), NoTls).await?;
    tokio::spawn(connection);

    // one record; sent when the transaction commits
    let transaction = client.transaction().await?;
    transaction.execute("SELECT firehose_put_json($1, $2)", &[stream, &r#"{"page": "/", "n": 1}"#]).await?;
    transaction.execute("SELECT firehose_put_text($1, $2)", &[stream, &"line"]).await?;
    transaction.execute("SELECT firehose_put_bytes($1, $2)", &[stream, &b"\x00\xff\n".as_slice()]).await?;
    transaction.execute("CALL firehose_send($1, $2)", &[stream, &r#"{"sent": true}"#]).await?;

    // several
    transaction.execute("SELECT firehose_put_jsons($1, $2)", &[stream, &r#"[{"n": 2}, {"n": 3}]"#]).await?;
    transaction.execute("SELECT firehose_put_texts($1, $2)", &[stream, &["a", "b"].as_slice()]).await?;
    transaction.execute("SELECT firehose_put_texts($1, $2)", &[stream, &Vec::<String>::new()]).await?;
    transaction.execute(
        "SELECT firehose_put_bytes_array($1, $2)",
        &[stream, &[b"\x01".as_slice(), br"\x02".as_slice()].as_slice()],
    ).await?;
    transaction.commit().await?;

    // what is rolled back is not sent, unless it is put at once
    let transaction = client.transaction().await?;
    transaction.execute("SELECT firehose_put_text($1, 'rolled back')", &[stream]).await?;
    transaction.execute("SELECT firehose_put_text($1, 'at once', false)", &[stream]).await?;
    transaction.rollback().await?;

    // the outcome
    let id: i64 = client.query_one("SELECT firehose_put_text($1, 'waited for')", &[stream]).await?.get(0);
    let outcome: String = client.query_one("SELECT firehose_wait($1)", &[&id]).await?.get(0);
    println!("{outcome}");

    let mut transaction = client.transaction().await?;
    if !put_patiently(&mut transaction, full, "never sent").await? {
        println!("full");
    }
    transaction.execute("SELECT firehose_put_text($1, 'went on')", &[stream]).await?;
    transaction.commit().await?;

    // an error that no other attempt mends
    let error = client.execute("SELECT firehose_put_json($1, $2)", &[stream, &"no JSON"]).await.unwrap_err();
    println!("{}", error.code().map_or("", |code| code.code()));
    Ok(())
}
