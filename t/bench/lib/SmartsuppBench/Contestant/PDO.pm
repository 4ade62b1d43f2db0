package SmartsuppBench::Contestant::PDO;

# PHP and PDO: the module's rows in its tables, as durable.

use strict;
use warnings;

use SmartsuppBench::Contestant::PHP ();
use SmartsuppTest::Delivery qw(get);
use SmartsuppTest::Process qw(spew);

our @ISA = ('SmartsuppBench::Contestant::PHP');

use constant DURABLE => 'wal 2'; # SQLite's synchronous=FULL is 2

my %dsn = (
    sqlite => sub { 'sqlite:' . $_[0]->file },
    pgsql  => sub { sprintf 'pgsql:host=127.0.0.1;port=%d;dbname=%s',
        $_[0]->port, $_[0]->name },
    mysql  => sub { sprintf 'mysql:host=127.0.0.1;port=%d;dbname=%s;'
        . 'charset=utf8mb4', $_[0]->port, $_[0]->name },
);

sub prepare {
    my ($self) = @_;
    my $httpd = $self->make_php('pdo.php');
    my $database = $self->make_database($httpd->path('db'));
    my $served = $database->server;
    my $file = $httpd->path('htdocs/config.php');
    spew($file, sprintf "<?php\nreturn ['dsn' => '%s', 'user' => '%s',"
        . " 'password' => '%s', 'rows' => '%s'];\n",
        $dsn{$self->{kind}}->($database), $served ? $database->user : '',
        $served ? $database->password : '', $self->{rows} // 'one');
    chmod 0600, $file;
    $httpd->give($file);
    $self->make_tables;
    return;
}

sub start {
    my ($self) = @_;
    $self->SUPER::start;
    return if $self->{kind} ne 'sqlite';
    my $answer = get($self->{httpd}, $self->path . '?check');
    die "PDO's SQLite is not durable, or not at all: $answer->{body}\n"
        . $self->{httpd}->log if $answer->{body} ne DURABLE;
    return;
}

1;
