<?php
// The rows that the module stores, by PHP and PDO as its manual has it: a
// connection that stays, one transaction a delivery, statements prepared once
// a request and executed once a row. With 'rows' => 'many' in config.php the
// rows of a child table go in one statement.
//
// config.php, beside this file, gives dsn, user, password and rows.

$config = require 'config.php';

function boolean($value)
{
    return $value === null ? null : (int) $value;
}

// A text as the tables have it: the visitor's id may be a number.
function text($value)
{
    return $value === null ? null : (string) $value;
}

function conversation_row(array $json, string $body): array
{
    $channel = $json['channel'];
    $visitor = $json['visitor'] ?? [];
    return [
        $json['accountId'], (string) $channel['id'], $json['beginAt'],
        $json['endAt'] ?? null, boolean($channel['isChat'] ?? null),
        boolean($channel['isMissed'] ?? null),
        boolean($channel['isTriggered'] ?? null),
        boolean($channel['isOffline'] ?? null),
        boolean($channel['isCompleted'] ?? null),
        boolean($channel['isDropped'] ?? null), $channel['duration'] ?? null,
        $channel['avgResponse'] ?? null, $channel['firstResponse'] ?? null,
        $channel['messagesCount'] ?? null, $channel['wordsCount'] ?? null,
        $channel['rating'] ?? null, $channel['ratingDesc'] ?? null,
        text($visitor['id'] ?? null), $visitor['name'] ?? null,
        $visitor['email'] ?? null, $visitor['note'] ?? null,
        text($visitor['group'] ?? null), $visitor['ipAddress'] ?? null,
        $visitor['city'] ?? null, $visitor['countryCode'] ?? null,
        $visitor['country'] ?? null, $visitor['userAgent'] ?? null,
        $visitor['platform'] ?? null, $visitor['referer'] ?? null, 2, null,
        count($json['messages'] ?? []), (int) (microtime(true) * 1000), null,
        hash('sha256', $body), $body,
    ];
}

function message_rows(array $key, array $json): array
{
    $rows = [];
    foreach ($json['messages'] ?? [] as $seq => $message) {
        $from = explode(':', $message['from'] ?? 'unknown', 2);
        $rows[] = [...$key, $seq, $message['type'] ?? null,
            $message['name'] ?? null, $from[0], $from[1] ?? null,
            $message['content'] ?? null, $message['sentAt'] ?? null,
            $message['triggeredBy'] ?? null, $message['email'] ?? null];
    }
    return $rows;
}

function path_rows(array $key, array $json): array
{
    $rows = [];
    foreach ($json['paths'] ?? [] as $seq => $path) {
        $rows[] = [...$key, $seq, $path['url'] ?? null,
            $path['title'] ?? null];
    }
    return $rows;
}

function variable_rows(array $key, array $json): array
{
    $rows = [];
    foreach ($json['visitor']['variables'] ?? [] as $name => $variable) {
        $value = $variable['value'] ?? null;
        $type = is_string($value) ? 'string' : (is_bool($value) ? 'boolean'
            : ($value === null ? 'null' : 'number'));
        $rows[] = [...$key, count($rows), (string) $name,
            $variable['label'] ?? null,
            is_bool($value) ? ($value ? 'true' : 'false') : text($value),
            $type];
    }
    return $rows;
}

function insert(PDO $database, string $table, string $columns, array $rows,
    string $how): void
{
    if (!$rows) {
        return;
    }
    $row = '(' . implode(', ', array_fill(0, count($rows[0]), '?')) . ')';
    $at_once = $how === 'many' ? 64 : 1; // drivers limit the number of values
    $prepared = null;
    foreach (array_chunk($rows, $at_once) as $chunk) {
        if (!$prepared || count($chunk) !== $prepared_rows) {
            $prepared_rows = count($chunk);
            $prepared = $database->prepare(
                "INSERT INTO smartsupp_$table ($columns) VALUES "
                . implode(', ', array_fill(0, $prepared_rows, $row)));
        }
        $prepared->execute(array_merge(...$chunk));
    }
}

$key = 'account_id, channel_id, begin_at';
$database = new PDO($config['dsn'], $config['user'], $config['password'],
    [PDO::ATTR_PERSISTENT => true,
        PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION]);
if (isset($_GET['check'])) { // the durability that SQLite has here
    echo $database->query('PRAGMA journal_mode')->fetchColumn(), ' ',
        $database->query('PRAGMA synchronous')->fetchColumn();
    exit;
}
$body = file_get_contents('php://input');
$json = json_decode($body, true, 32, JSON_THROW_ON_ERROR);
$row = conversation_row($json, $body);
$its = array_slice($row, 0, 3);
$how = $config['rows'];
$database->beginTransaction();
try {
    insert($database, 'conversation', "$key, end_at, is_chat, is_missed,"
        . ' is_triggered, is_offline, is_completed, is_dropped, duration,'
        . ' avg_response, first_response, messages_count, words_count, rating,'
        . ' rating_desc, visitor_id, visitor_name, visitor_email,'
        . ' visitor_note, visitor_group, visitor_ip_address, visitor_city,'
        . ' visitor_country_code, visitor_country, visitor_user_agent,'
        . ' visitor_platform, visitor_referer, generation, warnings,'
        . ' message_rows, received_at, updated_at, body_sha256, body',
        [$row], $how);
    insert($database, 'message', "$key, seq, type, name, sender_kind,"
        . ' sender_id, content, sent_at, triggered_by, email',
        message_rows($its, $json), $how);
    insert($database, 'path', "$key, seq, url, title",
        path_rows($its, $json), $how);
    insert($database, 'variable', "$key, seq, name, label, value, value_type",
        variable_rows($its, $json), $how);
    $database->commit();
} catch (Throwable $error) {
    // a persistent connection would take the open transaction along
    if ($database->inTransaction()) {
        $database->rollBack();
    }
    throw $error;
}
header('Content-Type: application/json');
echo '{"result":"stored"}';
