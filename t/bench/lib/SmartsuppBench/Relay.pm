package SmartsuppBench::Relay;

# The way to a database on another machine (t/bench/relay.c):
#
#   my $relay = SmartsuppBench::Relay->new($program, $port, 250);
#   ... $relay->port leads to $port, 250 µs away ...
#
# It ends with the object, or with this process.

use strict;
use warnings;

use IPC::Open2 qw(open2);

sub new {
    my ($class, $program, $port, $away) = @_;
    my $pid = open2(my $told, my $end, $program, $port, $away);
    my $line = readline($told) // die "the relay does not listen\n";
    return bless {pid => $pid, owner => $$, end => $end, port => $line + 0},
        $class;
}

sub port { return $_[0]{port} }

sub DESTROY {
    my ($self) = @_;
    return if $$ != $self->{owner};
    local ($?, $!);
    close $self->{end};
    waitpid $self->{pid}, 0;
    return;
}

1;
