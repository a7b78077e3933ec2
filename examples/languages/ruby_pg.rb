# Puts from Ruby's pg; connects by PGHOST, PGPORT, PGDATABASE, PGUSER.
#
#     ruby ruby_pg.rb STREAM FULL_STREAM
#
# The queue of FULL_STREAM has no room: what to do then is shown, too.
require 'json'
require 'pg'

stream, full = ARGV
connection = PG.connect
lists = PG::TextEncoder::Array.new(elements_type: PG::TextEncoder::String.new)
byte_lists = PG::TextEncoder::Array.new(elements_type: PG::TextEncoder::Bytea.new)

# one record; sent when the transaction commits
connection.transaction do
  connection.exec_params('SELECT firehose_put_json($1, $2)', [stream, { page: '/', n: 1 }.to_json])
  connection.exec_params('SELECT firehose_put_text($1, $2)', [stream, 'line'])
  # format 1: bytes as they are
  connection.exec_params('SELECT firehose_put_bytes($1, $2)', [stream, { value: "\x00\xff\n".b, format: 1 }])
  connection.exec_params('CALL firehose_send($1, $2)', [stream, { sent: true }.to_json])

  # several
  connection.exec_params('SELECT firehose_put_jsons($1, $2)', [stream, [{ n: 2 }, { n: 3 }].to_json])
  connection.exec_params('SELECT firehose_put_texts($1, $2)', [stream, lists.encode(%w[a b])])
  connection.exec_params('SELECT firehose_put_texts($1, $2)', [stream, lists.encode([])])
  connection.exec_params('SELECT firehose_put_bytes_array($1, $2)',
                         [stream, byte_lists.encode(["\x01".b, '\x02'.b])])
end

# what is rolled back is not sent, unless it is put at once
connection.exec('BEGIN')
connection.exec_params("SELECT firehose_put_text($1, 'rolled back')", [stream])
connection.exec_params("SELECT firehose_put_text($1, 'at once', false)", [stream])
connection.exec('ROLLBACK')

# the outcome
id = connection.exec_params("SELECT firehose_put_text($1, 'waited for')", [stream]).getvalue(0, 0)
puts connection.exec_params('SELECT firehose_wait($1)', [id]).getvalue(0, 0)

# Put in a transaction that goes on if the queue stays full.
def put_patiently(connection, stream, text)
  3.times do |attempt|
    connection.exec('SAVEPOINT put')
    connection.exec_params('SELECT firehose_put_text($1, $2)', [stream, text])
    return true
  rescue PG::InsufficientResources # 53000
    connection.exec('ROLLBACK TO SAVEPOINT put')
    sleep(0.1 * 2**attempt)
  end
  false
end

connection.transaction do
  puts 'full' unless put_patiently(connection, full, 'never sent')
  connection.exec_params("SELECT firehose_put_text($1, 'went on')", [stream])
end

# an error that no other attempt mends
begin
  connection.exec_params('SELECT firehose_put_json($1, $2)', [stream, 'no JSON'])
rescue PG::Error => e
  puts e.result.error_field(PG::Result::PG_DIAG_SQLSTATE)
end
connection.close
