package SmartsuppBench::Contestant::Loop;

# The database alone: t/bench/loop.c. Its connections are connections to the
# database. form => 'statement': a delivery is one statement.

use strict;
use warnings;

use JSON::PP ();

use SmartsuppBench::Contestant ();
use SmartsuppBench::Cost qw(cpu_seconds);
use SmartsuppTest::Process qw(slurp);

our @ISA = ('SmartsuppBench::Contestant');

sub prepare {
    my ($self) = @_;
    my $folder = $self->client->path($self->name);
    mkdir $folder or die "$folder: $!\n";
    $self->client->give($folder);
    $self->make_database($folder);
    $self->make_tables;
    return;
}

# It warms up by itself.
sub warm_up { return }

sub deliver {
    my ($self, $body, %how) = @_;
    my ($client, $server) = ($self->client, $self->database_server);
    my $database = $self->{database};
    my $file = $client->file($body->with($body->first));
    my $before = $server ? cpu_seconds($server->tree) : 0;
    $client->run_to_end({BENCH_DRIVER => $database->driver,
        BENCH_PARAMS => $database->params,
        BENCH_FORM => $self->{form} // ''}, $self->program('loop'), $file,
        $how{connections}, $how{seconds}, $body->first);
    my $output = slurp($client->path('output'));
    my $result = eval { JSON::PP->new->decode($output) }
        // die "the loop has no result:\n$output";
    # its own part is that of the measured time, the server's of all
    my $all = $result->{requests} + $result->{warm_up};
    my $used = $server ? cpu_seconds($server->tree) - $before : 0;
    return {%$result, taken => $result->{requests}, unread => 0,
        memory => 0, database_cpu => $used * $result->{requests} / ($all || 1)};
}

1;
