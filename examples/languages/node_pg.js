// Puts from node-pg; connects by PGHOST, PGPORT, PGDATABASE, PGUSER.
//
//     node node_pg.js STREAM FULL_STREAM
//
// The queue of FULL_STREAM has no room: what to do then is shown, too.
const { Client } = require('pg');
const { setTimeout: sleep } = require('timers/promises');

// Put in a transaction that goes on if the queue stays full.
async function putPatiently(client, stream, text) {
  for (let attempt = 0; attempt < 3; attempt++) {
    await client.query('SAVEPOINT put');
    try {
      await client.query('SELECT firehose_put_text($1, $2)', [stream, text]);
      return true;
    } catch (error) {
      if (error.code !== '53000') throw error;
      await client.query('ROLLBACK TO SAVEPOINT put');
      await sleep(100 * 2 ** attempt);
    }
  }
  return false;
}

async function main(stream, full) {
  const client = new Client();
  await client.connect();

  // one record; sent when the transaction commits
  await client.query('BEGIN');
  await client.query('SELECT firehose_put_json($1, $2)', [stream, { page: '/', n: 1 }]);
  await client.query('SELECT firehose_put_text($1, $2)', [stream, 'line']);
  await client.query('SELECT firehose_put_bytes($1, $2)', [stream, Buffer.from([0x00, 0xff, 0x0a])]);
  await client.query('CALL firehose_send($1, $2)', [stream, { sent: true }]);

  // several; node-pg writes an array as one of PostgreSQL's, so JSON is written here
  await client.query('SELECT firehose_put_jsons($1, $2)', [stream, JSON.stringify([{ n: 2 }, { n: 3 }])]);
  await client.query('SELECT firehose_put_texts($1, $2)', [stream, ['a', 'b']]);
  await client.query('SELECT firehose_put_texts($1, $2)', [stream, []]);
  await client.query('SELECT firehose_put_bytes_array($1, $2)',
    [stream, [Buffer.from([0x01]), Buffer.from('\\x02')]]);
  await client.query('COMMIT');

  // what is rolled back is not sent, unless it is put at once
  await client.query('BEGIN');
  await client.query("SELECT firehose_put_text($1, 'rolled back')", [stream]);
  await client.query("SELECT firehose_put_text($1, 'at once', false)", [stream]);
  await client.query('ROLLBACK');

  // the outcome; an id is a string in JavaScript
  const put = await client.query("SELECT firehose_put_text($1, 'waited for') AS id", [stream]);
  const outcome = await client.query('SELECT firehose_wait($1) AS outcome', [put.rows[0].id]);
  console.log(outcome.rows[0].outcome);

  await client.query('BEGIN');
  if (!await putPatiently(client, full, 'never sent')) console.log('full');
  await client.query("SELECT firehose_put_text($1, 'went on')", [stream]);
  await client.query('COMMIT');

  // an error that no other attempt mends
  try {
    await client.query('SELECT firehose_put_json($1, $2)', [stream, 'no JSON']);
  } catch (error) {
    console.log(error.code);
  }
  await client.end();
}

main(...process.argv.slice(2)).catch((error) => {
  console.error(error);
  process.exit(1);
});
