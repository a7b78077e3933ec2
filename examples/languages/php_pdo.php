<?php
// Puts from PHP's PDO; connects by PGHOST, PGPORT, PGDATABASE, PGUSER.
//
//     php php_pdo.php STREAM FULL_STREAM
//
// The queue of FULL_STREAM has no room: what to do then is shown, too.
[, $stream, $full] = $argv;
$db = new PDO('pgsql:');

function query(PDO $db, string $sql, array $arguments)
{
    $statement = $db->prepare($sql);
    $statement->execute($arguments);
    return $statement->fetchColumn();
}

// an array as PostgreSQL writes it
function text_array(array $elements): string
{
    return '{' . implode(',', array_map(fn($e) => '"' . addcslashes($e, '"\\') . '"', $elements)) . '}';
}

// one record; sent when the transaction commits
$db->beginTransaction();
query($db, 'SELECT firehose_put_json(?, ?)', [$stream, json_encode(['page' => '/', 'n' => 1])]);
query($db, 'SELECT firehose_put_text(?, ?)', [$stream, 'line']);

// bytes have to say that they are
$put = $db->prepare('SELECT firehose_put_bytes(?, ?)');
$put->bindValue(1, $stream);
$put->bindValue(2, "\x00\xff\n", PDO::PARAM_LOB);
$put->execute();
$db->prepare('CALL firehose_send(?, ?)')->execute([$stream, json_encode(['sent' => true])]);

// several
query($db, 'SELECT firehose_put_jsons(?, ?)', [$stream, json_encode([['n' => 2], ['n' => 3]])]);
query($db, 'SELECT firehose_put_texts(?, ?)', [$stream, text_array(['a', 'b'])]);
query($db, 'SELECT firehose_put_texts(?, ?)', [$stream, text_array([])]);
query($db, 'SELECT firehose_put_bytes_array(?, ?)',
    [$stream, text_array(array_map(fn($e) => '\x' . bin2hex($e), ["\x01", '\x02']))]);
$db->commit();

// what is rolled back is not sent, unless it is put at once
$db->beginTransaction();
query($db, "SELECT firehose_put_text(?, 'rolled back')", [$stream]);
query($db, "SELECT firehose_put_text(?, 'at once', false)", [$stream]);
$db->rollBack();

// the outcome
$id = query($db, "SELECT firehose_put_text(?, 'waited for')", [$stream]);
echo query($db, 'SELECT firehose_wait(?)', [$id]), "\n";

// Put in a transaction that goes on if the queue stays full.
function put_patiently(PDO $db, string $stream, string $text): bool
{
    for ($attempt = 0; $attempt < 3; $attempt++) {
        $db->exec('SAVEPOINT put');
        try {
            query($db, 'SELECT firehose_put_text(?, ?)', [$stream, $text]);
            return true;
        } catch (PDOException $error) {
            if ($error->getCode() !== '53000') {
                throw $error;
            }
            $db->exec('ROLLBACK TO SAVEPOINT put');
            usleep(100000 << $attempt);
        }
    }
    return false;
}

$db->beginTransaction();
if (!put_patiently($db, $full, 'never sent')) {
    echo "full\n";
}
query($db, "SELECT firehose_put_text(?, 'went on')", [$stream]);
$db->commit();

// an error that no other attempt mends
try {
    query($db, 'SELECT firehose_put_json(?, ?)', [$stream, 'no JSON']);
} catch (PDOException $error) {
    echo $error->getCode(), "\n";
}
