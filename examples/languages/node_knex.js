// Puts from knex; connects by PGHOST, PGPORT, PGDATABASE, PGUSER.
//
//     node node_knex.js STREAM FULL_STREAM
//
// The queue of FULL_STREAM has no room: what to do then is shown, too.
const { setTimeout: sleep } = require('timers/promises');
const knex = require('knex')({ client: 'pg', connection: {} });

// Put in a transaction that goes on if the queue stays full.
async function putPatiently(trx, stream, text) {
  for (let attempt = 0; attempt < 3; attempt++) {
    try {
      // a transaction in a transaction is a savepoint
      await trx.transaction((savepoint) => savepoint.raw('SELECT firehose_put_text(?, ?)', [stream, text]));
      return true;
    } catch (error) {
      if (error.code !== '53000') throw error;
      await sleep(100 * 2 ** attempt);
    }
  }
  return false;
}

async function main(stream, full) {
  // one record; sent when the transaction commits
  await knex.transaction(async (trx) => {
    await trx.raw('SELECT firehose_put_json(?, ?)', [stream, { page: '/', n: 1 }]);
    await trx.raw('SELECT firehose_put_text(?, ?)', [stream, 'line']);
    await trx.raw('SELECT firehose_put_bytes(?, ?)', [stream, Buffer.from([0x00, 0xff, 0x0a])]);
    await trx.raw('CALL firehose_send(?, ?)', [stream, { sent: true }]);

    // several; an array becomes one of PostgreSQL's, so JSON is written here
    await trx.raw('SELECT firehose_put_jsons(?, ?)', [stream, JSON.stringify([{ n: 2 }, { n: 3 }])]);
    await trx.raw('SELECT firehose_put_texts(?, ?)', [stream, ['a', 'b']]);
    await trx.raw('SELECT firehose_put_texts(?, ?)', [stream, []]);
    await trx.raw('SELECT firehose_put_bytes_array(?, ?)', [stream, [Buffer.from([0x01]), Buffer.from('\\x02')]]);
  });

  // what is rolled back is not sent, unless it is put at once
  const trx = await knex.transaction();
  await trx.raw("SELECT firehose_put_text(?, 'rolled back')", [stream]);
  await trx.raw("SELECT firehose_put_text(?, 'at once', false)", [stream]);
  await trx.rollback();

  // the outcome; an id is a string in JavaScript
  const put = await knex.raw("SELECT firehose_put_text(?, 'waited for') AS id", [stream]);
  const outcome = await knex.raw('SELECT firehose_wait(?) AS outcome', [put.rows[0].id]);
  console.log(outcome.rows[0].outcome);

  await knex.transaction(async (trx) => {
    if (!await putPatiently(trx, full, 'never sent')) console.log('full');
    await trx.raw("SELECT firehose_put_text(?, 'went on')", [stream]);
  });

  // an error that no other attempt mends
  try {
    await knex.raw('SELECT firehose_put_json(?, ?)', [stream, 'no JSON']);
  } catch (error) {
    console.log(error.code);
  }
  await knex.destroy();
}

main(...process.argv.slice(2)).catch((error) => {
  console.error(error);
  process.exit(1);
});
