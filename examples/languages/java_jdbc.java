// Puts from PostgreSQL's JDBC driver; connects by PGHOST, PGPORT, PGDATABASE, PGUSER.
//
//     java -cp postgresql.jar java_jdbc.java STREAM FULL_STREAM
//
// The queue of FULL_STREAM has no room: what to do then is shown, too.
import java.sql.CallableStatement;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Savepoint;

class Puts {
    // A put is a query: executeUpdate would fail after it has put.
    static String query(Connection connection, String sql, Object... arguments) throws SQLException {
        try (PreparedStatement statement = connection.prepareStatement(sql)) {
            for (int i = 0; i < arguments.length; i++)
                statement.setObject(i + 1, arguments[i]);
            try (ResultSet result = statement.executeQuery()) {
                result.next();
                return result.getString(1);
            }
        }
    }

    // Put in a transaction that goes on if the queue stays full.
    static boolean putPatiently(Connection connection, String stream, String text)
            throws SQLException, InterruptedException {
        for (int attempt = 0; attempt < 3; attempt++) {
            Savepoint savepoint = connection.setSavepoint();
            try {
                query(connection, "SELECT firehose_put_text(?, ?)", stream, text);
                return true;
            } catch (SQLException error) {
                if (!"53000".equals(error.getSQLState()))
                    throw error;
                connection.rollback(savepoint);
                Thread.sleep(100L << attempt);
            }
        }
        return false;
    }

    public static void main(String[] arguments) throws Exception {
        String stream = arguments[0];
        String full = arguments[1];
        Connection connection = DriverManager.getConnection(
            "jdbc:postgresql://" + System.getenv("PGHOST") + ":" + System.getenv("PGPORT") + "/"
                + System.getenv("PGDATABASE"), System.getenv("PGUSER"), "");
        connection.setAutoCommit(false);

        // one record; sent when the transaction commits
        query(connection, "SELECT firehose_put_json(?, ?)", stream, "{\"page\": \"/\", \"n\": 1}");
        query(connection, "SELECT firehose_put_text(?, ?)", stream, "line");
        query(connection, "SELECT firehose_put_bytes(?, ?)", stream, new byte[] {0, (byte) 0xff, '\n'});

        // for what wants no result: a procedure
        try (CallableStatement call = connection.prepareCall("CALL firehose_send(?, ?)")) {
            call.setString(1, stream);
            call.setString(2, "{\"sent\": true}");
            call.executeUpdate();
        }

        // several
        query(connection, "SELECT firehose_put_jsons(?, ?)", stream, "[{\"n\": 2}, {\"n\": 3}]");
        query(connection, "SELECT firehose_put_texts(?, ?)", stream,
            connection.createArrayOf("text", new String[] {"a", "b"}));
        query(connection, "SELECT firehose_put_texts(?, ?)", stream,
            connection.createArrayOf("text", new String[] {}));
        query(connection, "SELECT firehose_put_bytes_array(?, ?)", stream,
            connection.createArrayOf("bytea", new byte[][] {{1}, "\\x02".getBytes("US-ASCII")}));
        connection.commit();

        // what is rolled back is not sent, unless it is put at once
        query(connection, "SELECT firehose_put_text(?, 'rolled back')", stream);
        query(connection, "SELECT firehose_put_text(?, 'at once', false)", stream);
        connection.rollback();

        // the outcome
        long id = Long.parseLong(query(connection, "SELECT firehose_put_text(?, 'waited for')", stream));
        connection.commit();
        System.out.println(query(connection, "SELECT firehose_wait(?)", id));
        connection.rollback();

        if (!putPatiently(connection, full, "never sent"))
            System.out.println("full");
        query(connection, "SELECT firehose_put_text(?, 'went on')", stream);
        connection.commit();

        // an error that no other attempt mends
        try {
            query(connection, "SELECT firehose_put_json(?, ?)", stream, "no JSON");
        } catch (SQLException error) {
            System.out.println(error.getSQLState());
        }
        connection.rollback();
        connection.close();
    }
}
