package SmartsuppTest::Server::PostgreSQL;

# A private PostgreSQL; SmartsuppTest::Server tells how to have one.

use strict;
use warnings;

use DBD::Pg ();

use SmartsuppTest::Process qw(spew);

our @ISA = ('SmartsuppTest::Server');

# A program of the newest version that is installed.
sub program {
    my ($name) = @_;
    my @found = sort { version_of($b) <=> version_of($a) }
        grep { -x } map { "$_/$name" } glob('/usr/lib/postgresql/*/bin'),
        glob('/usr/pgsql-*/bin'), split /:/, $ENV{PATH};
    return $found[0] // die "PostgreSQL's $name is missing: make deps\n";
}

sub version_of { return $_[0] =~ m{[/-](\d+)/bin/} ? $1 : 0 }

sub make_command {
    my ($self) = @_;
    my $file = $self->path('password');
    spew($file, "$self->{password}\n");
    $self->give($file);
    return (program('initdb'), '-D', $self->path('data'), '--username=admin',
        "--pwfile=$file", '--auth=scram-sha-256', '--encoding=UTF8',
        '--no-locale', '--no-sync');
}

sub command {
    my ($self) = @_;
    my %settings = (
        listen_addresses        => '127.0.0.1',
        port                    => $self->{port},
        unix_socket_directories => '',
        max_connections         => 200,
        shared_buffers          => '32MB',
        %{$self->{settings}},
    );
    return (program('postgres'), '-D', $self->path('data'),
        map { ('-c', "$_=$settings{$_}") } sort keys %settings);
}

sub stop_signal  { return 'INT' }  # "fast"
sub abort_signal { return 'QUIT' } # "immediate"

sub dsn {
    my ($self, $database) = @_;
    $database //= 'postgres';
    return "dbi:Pg:host=127.0.0.1;port=$self->{port};dbname=$database";
}

sub attributes { return (pg_enable_utf8 => 1) }

sub set_up {
    my ($self) = @_;
    $self->administer('CREATE ROLE ' . $self->USER
        . " LOGIN PASSWORD '" . $self->user_password . "'");
    return;
}

sub create_statements {
    my ($self, $name) = @_;
    return "CREATE DATABASE $name OWNER " . $self->USER;
}

# The sessions of httpd in that database, and how to end one.
sub sessions {
    my ($self, $database) = @_;
    my $handle = $self->connect;
    return @{$handle->selectcol_arrayref('SELECT pid FROM pg_stat_activity'
        . ' WHERE datname = ? AND usename = ? ORDER BY pid', undef, $database,
        $self->USER)};
}

# How many sessions wait for a lock.
sub lock_waits {
    my ($self) = @_;
    return $self->connect->selectrow_array('SELECT count(*) FROM'
        . " pg_stat_activity WHERE wait_event_type = 'Lock'");
}

sub end_session {
    my ($self, $session) = @_;
    $self->administer("SELECT pg_terminate_backend($session)");
    return;
}

1;
