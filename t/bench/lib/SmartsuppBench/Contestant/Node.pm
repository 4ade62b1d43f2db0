package SmartsuppBench::Contestant::Node;

# A receiver in Node.js that stores the module's rows through pg.

use strict;
use warnings;

use File::Basename qw(dirname);
use IO::Socket::INET ();

use SmartsuppBench::Contestant ();
use SmartsuppTest::Delivery qw(get);
use SmartsuppTest::Process qw(ordinary_user slurp);

our @ISA = ('SmartsuppBench::Contestant');

use constant POOL => 16; # connections

my $receiver = dirname(__FILE__) . '/../../../receiver.js';

sub modules { return "$_[0]{bench}{build}/bench/node_modules" }

sub missing {
    my ($self) = @_;
    return 'Node.js is missing' if !grep { -x "$_/node" } split /:/, $ENV{PATH};
    return -e $self->modules . '/pg/package.json' ? undef
        : 'npm has not installed pg';
}

sub is_traced { return 1 }

sub prepare {
    my ($self) = @_;
    my $process = $self->{process}
        = bless {user => ordinary_user(), owner => $$},
        'SmartsuppBench::Contestant::Process';
    $process->make_folder;
    $process->give($process->{root});
    # where the ordinary user can read it
    system('cp', '-R', $self->modules, $receiver, $process->{root}) == 0
        or die "cp failed\n";
    chmod 0755, $process->{root};
    $process->reserve_port;
    $self->make_database;
    $self->make_tables;
    return;
}

sub path    { return '/hook' }
sub address { return $_[0]{process} }
sub url     { return "http://127.0.0.1:$_[0]{process}{port}/hook" }

sub start {
    my ($self) = @_;
    my ($process, $database) = @$self{qw(process database)};
    my $log = $process->path('log');
    $process->{pid} = $process->spawn_command($log, {PORT => $process->port,
        POOL => POOL, PGHOST => '127.0.0.1', PGPORT => $database->port,
        PGUSER => $database->user, PGPASSWORD => $database->password,
        PGDATABASE => $database->name}, 'node', $process->path('receiver.js'));
    $process->wait_for(sub {
        die "Node.js ended:\n" . slurp($log) if waitpid $process->{pid}, 1;
        return IO::Socket::INET->new(PeerAddr => '127.0.0.1',
            PeerPort => $process->port, Proto => 'tcp');
    }) or die "Node.js does not accept\n";
    return;
}

sub stop {
    my ($self) = @_;
    $self->{process}->kill9 if $self->{process};
    return;
}

# It forgets a connection before it is done with what came by it.
sub settle {
    my ($self) = @_;
    $self->SUPER::settle;
    $self->client->wait_for(sub { get($self->address, '/')->{body} eq '0' })
        or die "Node.js does not finish\n";
    return;
}

sub receivers { return $_[0]{process}->processes }

package SmartsuppBench::Contestant::Process;

our @ISA = ('SmartsuppTest::Process');

sub DESTROY {
    my ($self) = @_;
    return if $$ != $self->{owner};
    local ($?, $@, $!);
    $self->kill9;
    $self->remove_folder;
    return;
}

1;
