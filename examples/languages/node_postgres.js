// Puts from postgres.js; connects by PGHOST, PGPORT, PGDATABASE, PGUSER.
//
//     node node_postgres.js STREAM FULL_STREAM
//
// The queue of FULL_STREAM has no room: what to do then is shown, too.
const postgres = require('postgres');
const { setTimeout: sleep } = require('timers/promises');

// Put in a transaction that goes on if the queue stays full.
async function putPatiently(sql, stream, text) {
  for (let attempt = 0; attempt < 3; attempt++) {
    try {
      await sql.savepoint((sql) => sql`SELECT firehose_put_text(${stream}, ${text})`);
      return true;
    } catch (error) {
      if (error.code !== '53000') throw error;
      await sleep(100 * 2 ** attempt);
    }
  }
  return false;
}

async function main(stream, full) {
  const sql = postgres();

  // one record; sent when the transaction commits
  await sql.begin(async (sql) => {
    await sql`SELECT firehose_put_json(${stream}, ${sql.json({ page: '/', n: 1 })})`;
    await sql`SELECT firehose_put_text(${stream}, ${'line'})`;
    await sql`SELECT firehose_put_bytes(${stream}, ${Buffer.from([0x00, 0xff, 0x0a])})`;
    await sql`CALL firehose_send(${stream}, ${sql.json({ sent: true })})`;

    // several
    await sql`SELECT firehose_put_jsons(${stream}, ${sql.json([{ n: 2 }, { n: 3 }])})`;
    await sql`SELECT firehose_put_texts(${stream}, ${['a', 'b']})`;
    await sql`SELECT firehose_put_texts(${stream}, ${[]})`;
    // a list of bytes has to say its type, 1001: bytea[]
    await sql`SELECT firehose_put_bytes_array(${stream},
      ${sql.array([Buffer.from([0x01]), Buffer.from('\\x02')], 1001)})`;
  });

  // what is rolled back is not sent, unless it is put at once
  await sql.begin(async (sql) => {
    await sql`SELECT firehose_put_text(${stream}, 'rolled back')`;
    await sql`SELECT firehose_put_text(${stream}, 'at once', false)`;
    throw new Error('roll back');
  }).catch((error) => { if (error.message !== 'roll back') throw error; });

  // the outcome; an id is a string in JavaScript
  const [{ id }] = await sql`SELECT firehose_put_text(${stream}, 'waited for') AS id`;
  const [{ outcome }] = await sql`SELECT firehose_wait(${id}) AS outcome`;
  console.log(outcome);

  await sql.begin(async (sql) => {
    if (!await putPatiently(sql, full, 'never sent')) console.log('full');
    await sql`SELECT firehose_put_text(${stream}, 'went on')`;
  });

  // an error that no other attempt mends
  await sql`SELECT firehose_put_json(${stream}, 'no JSON')`.catch((error) => console.log(error.code));
  await sql.end();
}

main(...process.argv.slice(2)).catch((error) => {
  console.error(error);
  process.exit(1);
});
