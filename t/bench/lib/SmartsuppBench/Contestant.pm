package SmartsuppBench::Contestant;

# Who is measured. A contestant is one package of Contestant/: it says how it
# is started and stopped, what it has kept, and which processes it costs.
#
#   my $contestant = SmartsuppBench::Contestant->new('pdo-sqlite', $bench);
#   $contestant->prepare;
#   $contestant->start;
#   my $result = $contestant->measure($body, connections => 16, seconds => 3);
#   $contestant->stop;
#
# $bench is a hash of what they share: build (the folder), workers (as many as
# may be at work at once), and the servers.

use strict;
use warnings;

use SmartsuppBench::Client ();
use SmartsuppBench::Cost qw(cpu_seconds memory_mib);
use SmartsuppBench::Relay ();
use SmartsuppTest::Database ();
use SmartsuppTest::Process qw(slurp);
use SmartsuppTest::Server ();

# [name, package, database or other word]
my @all = (
    ['ours-sqlite',        'Ours',   'sqlite'],
    ['ours-postgresql',    'Ours',   'pgsql'],
    ['ours-mariadb',       'Ours',   'mysql'],
    ['spool-hung',         'Spool',  'hung'],
    ['spool-refused',      'Spool',  'refused'],
    ['pdo-sqlite',         'PDO',    'sqlite'],
    ['pdo-postgresql',     'PDO',    'pgsql'],
    ['pdo-mariadb',        'PDO',    'mysql'],
    ['pdomany-sqlite',     'PDO',    'sqlite', rows => 'many'],
    ['pdomany-postgresql', 'PDO',    'pgsql',  rows => 'many'],
    ['pdomany-mariadb',    'PDO',    'mysql',  rows => 'many'],
    ['script',             'Script', 'none'],
    ['node-postgresql',    'Node',   'pgsql'],
    ['body',               'Body',   'none'],
    ['loop-sqlite',        'Loop',   'sqlite'],
    ['loop-postgresql',    'Loop',   'pgsql'],
    ['loop-mariadb',       'Loop',   'mysql'],
    ['loopone-postgresql', 'Loop',   'pgsql', form => 'statement'],
);
my @usual = grep { !/^pdomany/ } map { $_->[0] } @all;

# All names; those that these words mean: a name, or the first part of several.
sub names { return map { $_->[0] } @all }

sub chosen {
    my ($class, @words) = @_;
    return @usual if !@words;
    my @chosen;
    for my $word (@words) {
        my @meant = grep { $_ eq $word || /^\Q$word\E-/ } $class->names;
        die "no contestant is called $word: there are "
            . join(', ', $class->names) . "\n" if !@meant;
        push @chosen, @meant;
    }
    return @chosen;
}

# Options: mpm, several (children, in place of one), conf (for its httpd).
sub new {
    my ($class, $name, $bench, %options) = @_;
    my ($entry) = grep { $_->[0] eq $name } @all;
    my (undef, $kind, $database, @more) = @$entry;
    my $package = "${class}::$kind";
    eval "require $package; 1" or die $@;
    return bless {name => $name, bench => $bench, kind => $database,
        owner => $$, mpm => 'event', several => 0, @more, %options}, $package;
}

sub name { return $_[0]{name} }

# What tells it from another one of its name: nothing, for most.
sub variant { return '' }

# The ways to run it, as options of new, out of these MPMs and numbers of
# children.
sub variants { return {} }

# Why it cannot take part, or undef.
sub missing { return undef }

# Whether the trace is worth its time.
sub is_traced { return 0 }

sub prepare { return }
sub start   { return }
sub stop    { return }

# The processes that receive, and the database server behind them, or undef.
sub receivers       { return () }
sub database_server { return $_[0]{server} }

sub client {
    my ($self) = @_;
    return $self->{bench}{client} //= SmartsuppBench::Client->new;
}

# The database server of that kind, started by whom needs it first. Its settings
# are those that it has by itself; the tests have smaller ones.
my %usual_settings = (
    postgresql => {shared_buffers => '128MB', max_connections => 400},
    mariadb    => {'innodb-buffer-pool-size' => '128M',
        'innodb-log-file-size' => '96M', 'max-connections' => 400},
);

sub server_of {
    my ($self, $kind) = @_;
    my $name = SmartsuppTest::Database::package_of($kind)->server_name
        // return undef;
    return $self->{bench}{servers}{$name} //= SmartsuppTest::Server->new($name,
        settings => $usual_settings{$name})->start;
}

# A database of its own; folder is for SQLite's file.
sub make_database {
    my ($self, $folder) = @_;
    $self->{server} = $self->server_of($self->{kind});
    my @through = $self->{server} ? (through => $self->port_to_server) : ();
    return $self->{database} = SmartsuppTest::Database->new($self->{kind},
        folder => $folder, server => $self->{server}, @through);
}

# The port that leads to the database server, which may be away.
sub port_to_server {
    my ($self) = @_;
    my ($bench, $port) = ($self->{bench}, $self->{server}->port);
    return $port if !$bench->{away};
    return ($bench->{relays}{$port} //= SmartsuppBench::Relay->new(
        "$bench->{build}/bench/relay", $port, $bench->{away}))->port;
}

# The tables as the module makes them.
sub make_tables {
    my ($self) = @_;
    my $database = $self->{database};
    $self->client->run_to_end({BENCH_DRIVER => $database->driver,
        BENCH_PARAMS => $database->params}, $self->program('loop'), '-', 0, 0,
        0);
    return;
}

# A program of ours, where the ordinary user can run it.
sub program {
    my ($self, $name) = @_;
    return $self->client->copy_of("$self->{bench}{build}/bench/$name", 0755);
}

my @tables = map { "smartsupp_$_" } qw(conversation message path variable);

# Forget what was stored, and leave no work behind for the next run.
sub clear {
    my ($self) = @_;
    my $database = $self->{database} or return;
    my $kind = $database->kind;
    return if $kind eq 'sqlite' && !$database->exists;
    $database->disconnect;
    my $handle = $database->writer;
    if ($kind eq 'sqlite') {
        $handle->do("DELETE FROM $_") for @tables;
        $handle->do('PRAGMA wal_checkpoint(TRUNCATE)');
    }
    elsif ($kind eq 'pgsql') {
        $handle->do('TRUNCATE ' . join ', ', @tables);
        $handle->do('CHECKPOINT');
    }
    else {
        $handle->do("TRUNCATE TABLE $_") for @tables;
    }
    $handle->disconnect;
    return;
}

# How many conversations it has kept, and of each the rows of all tables; undef
# where that cannot be told.
sub kept {
    my ($self) = @_;
    my $database = $self->{database} or return undef;
    my @rows = map { $database->value("SELECT count(*) FROM $_") } @tables;
    $database->disconnect;
    return {conversations => $rows[0], rows => \@rows};
}

# Where SmartsuppTest::Delivery connects to; undef: nowhere.
sub address { return undef }

# The states of a connection that the receiver is not done with: a sender that
# has gone leaves it in the second one. As /proc/net/tcp has them.
my %open = ('01' => 'established', '08' => 'close wait');

# Wait until what was on its way when the sender went has arrived.
sub settle {
    my ($self) = @_;
    my $address = $self->address or return;
    my $local = sprintf ':%04X', $address->port;
    $self->client->wait_for(sub {
        return !grep {
            my (undef, $from, undef, $state) = split;
            $from =~ /$local$/ && $open{$state};
        } split /\n/, slurp('/proc/net/tcp');
    }) or die "$self->{name} does not finish\n";
    return;
}

# Have it open its connections and prepare its statements.
sub warm_up {
    my ($self, $body, $connections) = @_;
    $self->client->deliver($self->url, $body, connections => $connections,
        seconds => 1);
    $self->settle;
    return;
}

# Let it receive for a while from that many connections.
sub deliver {
    my ($self, $body, %how) = @_;
    my @before = $self->cpu;
    my $result = $self->client->deliver($self->url, $body, %how);
    my @after = $self->cpu;
    return {%$result, unread => $how{connections},
        cpu => $after[0] - $before[0], database_cpu => $after[1] - $before[1],
        memory => memory_mib($self->receivers)};
}

# CPU time so far: of the receiver, of the database server.
sub cpu {
    my ($self) = @_;
    my $server = $self->database_server;
    return (cpu_seconds($self->receivers),
        $server ? cpu_seconds($server->tree) : 0);
}

# One run on empty tables: what deliver gives, and what became of it.
sub measure {
    my ($self, $body, %how) = @_;
    $self->clear;
    my $result = $self->deliver($body, %how);
    $self->settle;
    my $taken = $result->{taken} || 1;
    $result->{per_second} = $result->{taken} / $result->{seconds};
    $result->{cpu_us} = 1e6 * ($result->{cpu} + $result->{database_cpu})
        / $taken;
    $result->{wrong} = $self->wrong($body, $result);
    return $result;
}

# What is wrong with what was kept, in words; undef: nothing. A sender that
# stops does not read the answers to what it has sent last, so that one more for
# each connection may be there.
sub wrong {
    my ($self, $body, $result) = @_;
    my @wrong;
    my %failed = %{$result->{failed} // {}};
    push @wrong, map { "$failed{$_} failed ($_)" } sort keys %failed;
    push @wrong, $self->complaints if %failed;
    my $kept = $self->kept;
    if ($kept) {
        my $told = $result->{taken} + ($result->{warm_up} // 0);
        my $count = $kept->{conversations};
        push @wrong, ($told - $count) . " LOST: $told were answered 2xx, $count"
            . ' are there' if $count < $told;
        push @wrong, ($count - $told) . ' more are there than were answered 2xx'
            if $count > $told + $result->{unread};
        my @expected = map { $_ * $count } 1, $body->messages, 2, 3;
        push @wrong, "rows are missing: @{$kept->{rows}} in place of @expected"
            if $kept->{rows} && "@{$kept->{rows}}" ne "@expected";
    }
    return @wrong ? join('; ', @wrong) : undef;
}

# What its log says last, in words.
sub complaints { return () }

# However the program ends.
sub DESTROY {
    my ($self) = @_;
    return if $$ != $self->{owner};
    local ($?, $@, $!);
    $self->stop;
    return;
}

1;
