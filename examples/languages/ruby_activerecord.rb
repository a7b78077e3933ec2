# Puts from Rails' ActiveRecord; connects by PGHOST, PGPORT, PGDATABASE, PGUSER.
#
#     psql -f outbox.sql; ruby ruby_activerecord.rb STREAM
require 'active_record'

stream = ARGV[0]
ActiveRecord::Base.establish_connection(
  adapter: 'postgresql', host: ENV['PGHOST'], port: ENV['PGPORT'],
  database: ENV['PGDATABASE'], username: ENV['PGUSER']
)

# The view of outbox.sql.
class Outbox < ActiveRecord::Base
  self.table_name = 'outbox'
  self.primary_key = 'id'
end

# the ORM: sent with what else the transaction commits
event = Outbox.transaction { Outbox.create!(stream: stream, data: { by: 'orm' }) }
puts Outbox.connection.select_value("SELECT firehose_wait(#{event.id})")

# equal inserts are as many records, while the query cache is on, too
ActiveRecord::Base.cache do
  2.times { Outbox.create!(stream: stream, data: { by: 'cached' }) }
end

# the function: uncached, since the cache takes a put for a mere reading
ActiveRecord::Base.uncached do
  put = ActiveRecord::Base.sanitize_sql(['SELECT firehose_put_text(?, ?)', stream, 'by core'])
  Outbox.connection.select_value(put)
end

# a test that is rolled back, as Rails does, sees what would have been sent
Outbox.transaction do
  Outbox.create!(stream: stream, data: { by: 'test' })
  print Outbox.connection.select_values("SELECT convert_from(data, 'UTF8') FROM firehose_pending()").join
  raise ActiveRecord::Rollback
end
