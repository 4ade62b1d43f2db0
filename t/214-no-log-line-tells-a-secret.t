#!/usr/bin/perl
# At whatever LogLevel of ours, and whatever becomes of a delivery: the error
# log, the status in all of its forms and the answers hold no secret, token,
# signature or query string, no message and nothing of a visitor. Nor do the
# words with which a database refuses a delivery.

use strict;
use warnings;

use Digest::SHA qw(hmac_sha256_hex);
use FindBin;
use Test::More;

use lib "$FindBin::Bin/lib";
use SmartsuppTest::Database;
use SmartsuppTest::Delivery;
use SmartsuppTest::Httpd;
use SmartsuppTest::Process qw(slurp spew);
use SmartsuppTest::Spool;

my ($secret, $token) = ('Geheimschluessel', 'Losungswort+/=');
my $query = 'Anfragewort';

# What a delivery says of people: a word of its own in each field.
my %private = (
    'channel.ratingDesc' => 'Bewertungswort', 'visitor.id' => 'Besucherwort',
    'visitor.name' => 'Namenswort', 'visitor.email' => 'mail@wort.example',
    'visitor.note' => 'Notizwort', 'visitor.group' => 'Gruppenwort',
    'visitor.ipAddress' => '203.0.113.77', 'visitor.city' => 'Stadtwort',
    'visitor.countryCode' => 'Kuerzelwort', 'visitor.country' => 'Landwort',
    'visitor.userAgent' => 'Browserwort', 'visitor.platform' => 'Systemwort',
    'visitor.referer' => 'http://herkunftswort.example/',
);
my @more = qw(Variablenwort Etikettwort Wertwort Adresswort Titelwort Typwort
    Absenderwort Kennungswort Inhaltswort Ausloeserwort Postwort Kanalwort);
my @private = (%private, paths => [{url => 'http://Adresswort/',
    title => 'Titelwort'}], 'visitor.variables' => {Variablenwort => {
    label => 'Etikettwort', value => 'Wertwort'}},
    messages => [{type => 'Typwort', name => 'Absenderwort',
        from => 'visitor:Kennungswort', content => 'Inhaltswort', sentAt => 1,
        triggeredBy => 'Ausloeserwort', email => 'Postwort'}]);

# Also as they stand in a URL or a header.
my (@signatures, @answers); # of one server
my $never = join '|', map { quotemeta } $secret, $token, $query,
    'Losungswort', values %private, @more, 'wort.example', 'token=';

# ExtendedStatus has mod_status itself show the URL of each request.
my $conf = <<'CONF';
ExtendedStatus Off
SmartsuppReplayInterval 100ms
<Location "/hook">
    SetInputFilter DEFLATE
    Require smartsupp-token file:keys/token
</Location>
<Location "/hook/signed">
    SmartsuppSecret file:keys/secret
</Location>
<Location "/hook/account">
    SmartsuppAccount 1
</Location>
<Location "/hook/small">
    SmartsuppMaxBody 100
</Location>
<Location "/status">
    SetHandler smartsupp-status
</Location>
<Location "/server-status">
    SetHandler server-status
</Location>
<Directory "%%ROOT%%/htdocs">
    AllowOverride All
</Directory>
<VirtualHost 127.0.0.1:%%PORT%%>
    ServerName one
    SmartsuppSpool %%ROOT%%/spool-one
</VirtualHost>
<VirtualHost 127.0.0.1:%%PORT%%>
    ServerName two
    DBDriver sqlite3
    DBDParams %%ROOT%%/down/smartsupp.db
    DBDMin 0
    SmartsuppSpool %%ROOT%%/spool-two
</VirtualHost>
<VirtualHost 127.0.0.1:%%PORT%%>
    ServerName three
    DBDriver sqlite3
    DBDParams %%ROOT%%/away/smartsupp.db
    DBDMin 0
</VirtualHost>
CONF

# Constraints, types and functions that quote a value when it does not fit:
# [how a trigger on messages uses it, a value that does not fit].
my %quoting = (
    postgresql => [
        ['PERFORM NEW.content::int', 'Inhaltswort'],
        ['PERFORM NEW.content::int', '98765432109'],
        ['PERFORM NEW.content::bigint', '98765432109876543210'],
        ['PERFORM NEW.content::float8', '98765e999'],
        ['PERFORM NEW.content::numeric', 'Inhaltswort'],
        ['PERFORM NEW.content::boolean', 'Inhaltswort'],
        ['PERFORM NEW.content::date', 'Inhaltswort'],
        ['PERFORM NEW.content::date', '2020-98-76'],
        ['PERFORM NEW.content::json', 'Inhaltswort'],
        ['PERFORM NEW.content::uuid', 'Inhaltswort'],
        ['PERFORM NEW.content::inet', 'Inhaltswort'],
        ['PERFORM NEW.content::int[]', 'Inhaltswort'],
        ["PERFORM to_date(NEW.content, 'YYYY-MM-DD')", 'Inhaltswort'],
        ['PERFORM NEW.content::varchar(3)::"char"', 'Inhaltswort'],
    ],
    mariadb => [
        ['SET @x = CAST(NEW.content AS SIGNED); SET NEW.seq = NEW.content',
            'Inhaltswort'],
        ['SET NEW.sent_at = NEW.content', 'Inhaltswort'],
        ['SET NEW.sent_at = NEW.content', '98765432109876543210'],
        ['SET NEW.sender_kind = NEW.content', 'Inhaltswort98765'],
        ['SET NEW.sent_at = CAST(NEW.content AS DATE)', 'Inhaltswort'],
        ['SET NEW.sent_at = exp(NEW.content)', '98765'],
        ['SET NEW.sent_at = JSON_VALUE(NEW.content, NEW.content) + 1',
            'Inhaltswort'],
        ['SET NEW.name = CAST(NEW.content AS INET6)', 'Inhaltswort'],
        ['SET NEW.seq = NEW.content REGEXP NEW.content', 'Inhaltswort('],
        ["SET NEW.name = CONVERT(UNHEX(HEX(CONCAT(NEW.content, x'ff')))"
            . ' USING utf8mb4)', 'Inhaltswort'],
    ],
    sqlite => [],
);

for my $level (qw(emerg alert crit error warn notice info debug),
    map { "trace$_" } 1 .. 8) {
    subtest $level => sub { tells_nothing($level) };
}
for my $kind (SmartsuppTest::Database->kinds) {
    subtest "words of a database: $kind" => sub { words_tell_nothing($kind) };
}
done_testing;

# A request, with its answer noted for inspection.
sub send_to {
    my ($httpd, $host, $path, $body, %options) = @_;
    my $answer = post($httpd, $body, path => $path, %options,
        headers => [Host => $host, @{$options{headers} // []}]);
    push @answers, $answer;
    return $answer;
}

sub signed {
    my ($body, $key) = @_;
    my $hex = hmac_sha256_hex($body, $key);
    push @signatures, $hex;
    return (headers => ['X-Smartsupp-Hmac' => $hex]);
}

sub tells_nothing {
    my ($level) = @_;
    (@answers, @signatures) = ();
    my $httpd = SmartsuppTest::Httpd->new(conf => $conf,
        log_level => "warn smartsupp_hook:$level",
        modules   => [qw(watchdog status deflate filter)]);
    for my $folder (qw(keys down away spool-one spool-two)) {
        mkdir $httpd->path($folder), 0700 or die "$folder: $!\n";
        $httpd->give($httpd->path($folder));
    }
    spew($httpd->path('keys/secret'), $secret);
    spew($httpd->path('keys/token'), $token);
    chmod 0755, $httpd->path('keys');
    chmod 0500, map { $httpd->path($_) } qw(down away);
    $httpd->start;

    my @good = (headers => ['X-Smartsupp-Token' => $token]);
    succeed($httpd);
    refuse_who_may_not($httpd);
    refuse_what_is_wrong($httpd);
    have_refused($httpd);
    spool($httpd);
    break_htaccess($httpd);
    my $shown = join "\n", map { my $form = $_; map {
        get($httpd, $form, headers => [Host => $_])->{body} } qw(one two) }
        '/status', map({ "/status?format=$_" } qw(json prometheus health)),
        '/server-status', '/server-status?auto';
    ok $httpd->stop, 'it stops';
    my $log = $httpd->log . slurp($httpd->path('logs/start.log'));
    # this one is given away by level: so the search below is not in vain
    my $wanted = $level =~ /^(?:info|debug|trace\d)$/ ? qr/stored: \d+ bytes/
        : $level =~ /^(?:warn|notice)$/ ? qr/SMARTSUPP0219/
        : $level eq 'error' ? qr/SMARTSUPP0301/ : qr/./;
    like $log, $wanted, 'the log has what that level is for';
    tells_no($never, 'the log', $log);
    tells_no($never, 'the status', $shown);
    tells_no($never, 'an answer', join "\n", map { join ' ', $_->{body},
        %{$_->{headers}} } @answers);
    my %seen = map { $_ => 1 } @signatures;
    tells_no(join('|', sort keys %seen), 'anything', join "\n", $log, $shown,
        map { $_->{body} } @answers);
    $httpd->allow_log(qr/./);
    $httpd->done;
    return;
}

sub tells_no {
    my ($pattern, $what, $text) = @_;
    my @found = $text =~ /^(.*(?:$pattern).*)$/mgi;
    is_deeply \@found, [], "$what tells nothing";
    return;
}

# The query that goes along with every request.
sub with_token { return '?a=' . $query . '&token=Losungswort%2B%2F%3D' }

sub succeed {
    my ($httpd) = @_;
    my $path = '/hook' . with_token();
    my $body = body_of(@private);
    is send_to($httpd, 'one', $path, $body)->{result}, 'stored', 'stored';
    is send_to($httpd, 'one', $path, $body)->{result}, 'duplicate',
        'duplicate';
    is send_to($httpd, 'one', $path, body_of(@private, endAt => $_))->{result},
        $_ == 1 ? 'stale' : 'updated', "end $_" for 2427470476687, 1;
    my @strange = ('channel.id' => 'Kanalwort', 'visitor.variables' =>
        {Variablenwort => {label => ['Etikettwort'], value => {x => 1}}},
        'channel.duration' => 'Notizwort', 'visitor.note' => {x => 'Notizwort'},
        'channel.isChat' => 'Systemwort');
    my $answer = send_to($httpd, 'one', $path, body_of(@private, @strange));
    is $answer->{result}, 'stored', 'with warnings';
    # the sender alone is told: the key, and where in the body it was
    pop @answers;
    tells_no('Etikettwort|Notizwort|Systemwort|Losung|Geheim', 'such an answer',
        $answer->{body});
    is send_to($httpd, 'one', $path, body_of({type => 'event_callback',
        event => 'Typwort', timestamp => 'Notizwort', account_id => 7,
        data => {@private[0, 1]}}))->{result}, 'stored', 'an event';
    $path = '/hook/signed' . with_token();
    is send_to($httpd, 'one', $path, $body, signed($body, $secret))->{status},
        200, 'signed';
    return;
}

sub refuse_who_may_not {
    my ($httpd) = @_;
    my $body = body_of(@private);
    my @referer = (Referer => 'http://localhost/');
    is send_to($httpd, 'one', "/hook?$query=1&token=$query", $body)->{status},
        403, 'another token';
    is send_to($httpd, 'one', '/hook', $body, headers => [Authorization =>
        "Bearer $query", @referer])->{status}, 403, 'another Bearer';
    is send_to($httpd, 'one', '/hook', $body, headers => ['X-Smartsupp-Token' =>
        "x$token"])->{status}, 403, 'nearly the token';
    my $path = '/hook/signed' . with_token();
    is send_to($httpd, 'one', $path, $body)->{status}, 403, 'not signed';
    is send_to($httpd, 'one', $path, $body, signed($body, 'x'))->{status}, 403,
        'signed by another';
    is send_to($httpd, 'one', $path, $body, headers => ['X-Smartsupp-Hmac' =>
        $query])->{status}, 403, 'no signature at all';
    push @signatures, hmac_sha256_hex($body, $secret);
    is send_to($httpd, 'one', '/hook/account' . with_token(), $body)->{status},
        403, 'another account';
    return;
}

sub refuse_what_is_wrong {
    my ($httpd) = @_;
    my $path = '/hook' . with_token();
    my $body = body_of(@private);
    is send_to($httpd, 'one', $path, undef, method => $_)->{status}, 405, $_
        for qw(GET PUT);
    is send_to($httpd, 'one', $path, substr $body, 0, -1)->{status}, 400,
        'cut off';
    is send_to($httpd, 'one', $path, 'Inhaltswort')->{status}, 400, 'no JSON';
    is send_to($httpd, 'one', $path, body_of(@private, @$_))->{status}, 422,
        "422: $_->[0]" for [beginAt => 'Notizwort'], ['channel.id' =>
        " Kanalwort"], [accountId => 'Namenswort'], [messages => ['Inhaltswort',
        ['Inhaltswort']]], [paths => 'Adresswort'], [visitor => 'Namenswort'];
    my $twice = $body =~ s/"label":"/"label":"Notizwort","label":"/r;
    my $answer = send_to($httpd, 'one', $path, $twice);
    is $answer->{status}, 422, 'a key twice';
    # its pointer is for the sender alone, and names the variable
    pop @answers;
    is send_to($httpd, 'one', '/hook/small' . with_token(), $body)->{status},
        413, 'too large';
    is send_to($httpd, 'one', $path, $body, headers => ['Content-Encoding' =>
        $query])->{status}, 415, 'encoded';
    like send_to($httpd, 'one', $path, $body, headers => ['Content-Encoding' =>
        'gzip'])->{status}, qr/^4/, 'no gzip';
    like send_to($httpd, 'one', $path, "5\r\n$query\r\nx$body", headers =>
        ['Transfer-Encoding' => 'chunked'])->{status}, qr/^4/,
        'malformed chunks';
    my $connection = dial($httpd);
    $connection->write(request(substr($body, 0, 500), path => $path, headers =>
        [Host => 'one', 'Content-Length' => 5000]));
    $connection->abort;
    is send_to($httpd, 'three', $path, $body)->{status}, 503,
        'neither database nor spool';
    return;
}

# By the database, for good.
sub have_refused {
    my ($httpd) = @_;
    my $path = '/hook' . with_token();
    $httpd->database->change($httpd->database->refusal('refused', 'words'),
        'CREATE UNIQUE INDEX one_url ON smartsupp_path (url)'
        . " WHERE channel_id LIKE 'unique%'");
    is send_to($httpd, 'one', $path, body_of(@private, 'channel.id' =>
        'refused'))->{result}, 'rejected', 'refused by a trigger';
    is send_to($httpd, 'one', $path, body_of(@private, 'channel.id' =>
        "unique$_"))->{result}, $_ == 1 ? 'stored' : 'rejected',
        "refused by an index: $_" for 1, 2;
    return;
}

# Into the spool, and out of it: stored, refused, damaged.
sub spool {
    my ($httpd) = @_;
    my $path = '/hook' . with_token();
    my $two = SmartsuppTest::Spool->new($httpd->path('spool-two'), $httpd);
    is send_to($httpd, 'two', $path, body_of(@private, 'channel.id' => $_))
        ->{result}, 'spooled', "spooled: $_" for 1, 2;
    chmod 0700, $httpd->path('down');
    ok $httpd->wait_for(sub { !$two->names('new') }), 'and drained';

    my $one = SmartsuppTest::Spool->new($httpd->path('spool-one'), $httpd);
    my $before = $one->names('rejected');
    $one->put(body_of(@private, 'channel.id' => 'refused', endAt => 7));
    $one->put(body_of(@private, beginAt => 1));
    $one->put('Inhaltswort, no JSON');
    my $torn = body_of(@private);
    my %damaged = (foreign => $torn, SmartsuppTest::Spool::name($torn) =>
        substr SmartsuppTest::Spool::file($torn), 0, -10);
    for my $name (sort keys %damaged) {
        $one->write('tmp', $name, $damaged{$name});
        rename $one->path('tmp', $name), $one->path('new', $name)
            or die "$name: $!\n";
    }
    ok $httpd->wait_for(sub { !$one->names('new')
        && $one->names('rejected') == $before + 5 }),
        'what cannot be replayed is set aside';
    return;
}

sub break_htaccess {
    my ($httpd) = @_;
    for my $line ("SmartsuppSecret $secret", "SmartsuppSecret \"$secret x\"",
        "SmartsuppSecret $secret $secret", "Require smartsupp-token $token",
        "Require smartsupp-token $token $token") {
        spew($httpd->path('htdocs/.htaccess'), "$line\n");
        is send_to($httpd, 'one', '/x' . with_token(), body_of(@private))
            ->{status}, 500, 'a literal in .htaccess';
    }
    unlink $httpd->path('htdocs/.htaccess');
    return;
}

sub words_tell_nothing {
    my ($kind) = @_;
    my $httpd = SmartsuppTest::Httpd->new(database => $kind,
        modules => ['watchdog'], log_level => 'warn smartsupp_hook:trace8',
        conf => "SmartsuppSpool %%ROOT%%/spool\n");
    my $spool = SmartsuppTest::Spool->of($httpd);
    $httpd->start;
    my $database = $httpd->database;
    is post($httpd, sample())->{status}, 200, 'the tables are there';
    my $column = $database->dialect eq 'mariadb' ? 'email(100)' : 'email';
    $database->change("CREATE UNIQUE INDEX one_email ON smartsupp_message"
        . " ($column)");
    refused($httpd, 'a unique index', 'channel.id' => $_) for 1, 2;
    if ($database->dialect ne 'sqlite') {
        $database->change('DROP INDEX one_email' . ($database->dialect eq
            'mariadb' ? ' ON smartsupp_message' : ''),
            'DELETE FROM smartsupp_message', 'DELETE FROM smartsupp_path',
            'ALTER TABLE smartsupp_message ADD CONSTRAINT short CHECK'
            . " (content <> 'Inhaltswort')", $database->narrow(3));
        refused($httpd, 'a CHECK', 'channel.id' => 3);
        refused($httpd, 'a narrow column', 'channel.id' => 4, messages => []);
        $database->change('ALTER TABLE smartsupp_message DROP CONSTRAINT'
            . ' short', $database->wide);
    }
    my $number = 100;
    for my $case (@{$quoting{$database->dialect}}) {
        my ($action, $value) = @$case;
        my $id = $number++;
        my $made = eval { $database->change($database->trigger(
            "NEW.channel_id = '$id'", $action)); 1 };
        note("$action: not here: $@"), next if !$made;
        refused($httpd, "$action: $value", 'channel.id' => $id,
            messages => [{type => 'visitor', content => $value}]);
        $database->change('DROP TRIGGER refusal'
            . ($database->dialect eq 'postgresql' ? ' ON smartsupp_message'
            : ''));
    }
    $httpd->allow_log(qr/SMARTSUPP0(?:215|301|302)/);
    $httpd->done;
    return;
}

# A delivery that may be refused: neither the log nor the reason in the spool
# has a word of it.
sub refused {
    my ($httpd, $what, @changes) = @_;
    my $before = length $httpd->log;
    my $spool = SmartsuppTest::Spool->new($httpd->path('spool'), $httpd);
    my $answer = post($httpd, body_of(@private, @changes));
    my @reasons = map { $_->{reason} } $spool->deliveries('rejected');
    my $said = join "\n", substr($httpd->log, $before), @reasons;
    my @found = $said =~ /^(.*(?:$never|98765|2020-98|Inha).*)$/mgi;
    is_deeply \@found, [], "$what ($answer->{result}): tells nothing";
    unlink map { $spool->path('rejected', $_) } $spool->names('rejected');
    return;
}
