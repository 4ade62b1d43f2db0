package SmartsuppTest::Race;

# Many versions of many conversations, shuffled, from sixteen senders to two
# servers on one database. 410 runs it small, 904 large.

use strict;
use warnings;

use Exporter qw(import);
use List::Util qw(shuffle);
use Test::More;

use SmartsuppTest::Database ();
use SmartsuppTest::Delivery;
use SmartsuppTest::Httpd ();

our @EXPORT = qw(race);

use constant SENDERS => 16;
use constant COPIES => 4; # of each delivery, from so many senders

# A version of a conversation: its number decides what is in it. Every third
# one ends when the one before it did and has more messages; the first one has
# no end.
sub version {
    my ($conversation, $number, $newest) = @_;
    my $end = $number - ($number % 3 == 2);
    my $mark = "$conversation.$number";
    return {
        'channel.id' => "race $conversation",
        endAt => $number ? 1427470476000 + $end : undef,
        messages => [map { {type => 'agent', from => 'agent:3',
            content => "$mark.$_", sentAt => 1427470476000 + $_} }
            1 .. messages($number)],
        paths => [map { {url => "$mark.$_", title => ''} }
            1 .. $newest - $number],
        'visitor.variables' => {map { ("v$_" => {label => $mark,
            value => $_}) } 1 .. 1 + $number % 3},
    };
}

sub messages { my ($number) = @_; return 2 + $number % 5 + ($number % 3 == 2) }

# A child for each sender from the start, and connections that stay.
my $children = <<'CONF';
MaxKeepAliveRequests 0
<IfModule mpm_prefork_module>
    StartServers 16
    MaxSpareServers 17
</IfModule>
CONF

# kind of database, MPM, how many conversations, how many versions of each.
sub race {
    my ($kind, $mpm, $conversations, $versions) = @_;
    my $one = SmartsuppTest::Httpd->new(database => $kind, mpm => $mpm,
        conf => $children)->start;
    my $two = SmartsuppTest::Httpd->new(database => $one->database,
        mpm => $mpm, conf => $children)->start;
    my @servers = ($one, $two);
    my @bodies = map { my $conversation = $_;
        map { body_of(%{version($conversation, $_, $versions - 1)}) }
        0 .. $versions - 1 } 1 .. $conversations;
    my @results = map { @$_ } parallel(SENDERS, sub {
        my ($sender) = @_;
        srand $sender;
        my @connections = map { dial($_) } @servers;
        my @mine = shuffle(@bodies[grep {
            ($_ + $sender) % (SENDERS / COPIES) == 0 } 0 .. $#bodies]);
        return [map {
            my $connection = $connections[rand @connections];
            my $answer = $connection->write(request($_))->answer;
            $answer->{result} // $answer->{status};
        } @mine];
    });
    my %count;
    $count{$_}++ for @results;
    is @results, COPIES * @bodies, 'all deliveries are answered';
    is_deeply [grep { !/^(?:stored|updated|duplicate|stale)$/ } keys %count],
        [], 'with 200' or diag explain \%count;
    is $count{stored}, $conversations, 'each conversation is stored once';
    newest_stays($one->database, $conversations, $versions - 1);
    note 'deadlocks: ' . $one->database->deadlocks
        if $one->database->can('deadlocks');
    $two->done;
    $one->done;
    return;
}

sub newest_stays {
    my ($database, $conversations, $newest) = @_;
    my (%expected, %found);
    for my $conversation (1 .. $conversations) {
        my $version = version($conversation, $newest, $newest);
        my $mark = "$conversation.$newest";
        $expected{"race $conversation"} = [$version->{endAt},
            [map { "$mark.$_" } 1 .. messages($newest)], [],
            [map { "v$_ $mark" } 1 .. 1 + $newest % 3]];
    }
    my $handle = $database->handle;
    for my $row ($database->rows('SELECT channel_id, end_at FROM'
        . ' smartsupp_conversation')) {
        my $children = sub {
            my ($columns, $table) = @_;
            return [map { join ' ', @$_ } @{$handle->selectall_arrayref(
                "SELECT $columns FROM smartsupp_$table WHERE channel_id = ?"
                . ' ORDER BY seq', undef, $row->{channel_id})}];
        };
        $found{$row->{channel_id}} = [$row->{end_at},
            $children->('content', 'message'), $children->('url', 'path'),
            $children->('name, label', 'variable')];
    }
    is_deeply \%found, \%expected, 'the newest version of each, with exactly'
        . ' its children';
    is $database->orphans, 0, 'no orphans';
    return;
}

1;
