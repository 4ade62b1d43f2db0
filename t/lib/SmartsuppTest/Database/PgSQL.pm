package SmartsuppTest::Database::PgSQL;

# PostgreSQL, through apr_dbd_pgsql.

use strict;
use warnings;

use SmartsuppTest::Database::Served ();

our @ISA = ('SmartsuppTest::Database::Served');

sub server_name { return 'postgresql' }
sub driver      { return 'pgsql' }

sub params {
    my ($self) = @_;
    return $self->shipped_params if $self->{shipped};
    return sprintf 'host=127.0.0.1 port=%d dbname=%s user=%s password=%s'
        . ' connect_timeout=10 client_encoding=UTF8', $self->port, $self->name,
        $self->user, $self->password;
}

sub schema       { return "'public'" }
sub type_columns { return 'data_type, character_maximum_length' }

my %type = ('character varying' => 'VARCHAR', character => 'CHAR');

sub type {
    my ($self, $type, $length) = @_;
    return $type{$type} ? "$type{$type}($length)" : uc $type;
}

sub statistics { return 'ANALYZE' }

sub refusal {
    my ($self, $channel, $words) = @_;
    return $self->trigger("NEW.channel_id = '$channel'",
        "RAISE EXCEPTION '$words'");
}

# Statements: the next messages that are inserted, so many, fail with this
# SQLSTATE and these words. A sequence counts what is rolled back as well.
sub failure {
    my ($self, $times, $state, $words) = @_;
    return ('DROP SEQUENCE IF EXISTS failures', 'CREATE SEQUENCE failures',
        'GRANT ALL ON SEQUENCE failures TO ' . $self->user,
        $self->trigger("nextval('failures') <= $times",
            "RAISE EXCEPTION '$words' USING ERRCODE = '$state'"));
}

# Statements for the administrator: nobody may write any more, or log in, or
# insert messages; and how it was before. Sessions that are open do not notice
# the first two.
sub read_only {
    my ($self, $on) = @_;
    return 'ALTER DATABASE ' . $self->name
        . ' SET default_transaction_read_only = ' . ($on ? 'on' : 'off');
}

sub full {
    my ($self, $on) = @_;
    return 'ALTER DATABASE ' . $self->name . ' CONNECTION LIMIT '
        . ($on ? 0 : -1);
}

sub privilege {
    my ($self, $given) = @_;
    return ($given ? 'GRANT INSERT ON smartsupp_message TO '
        : 'REVOKE INSERT ON smartsupp_message FROM ') . $self->user;
}

# Statements: the titles of pages are so long at most; any length.
sub narrow {
    my ($self, $length) = @_;
    return "ALTER TABLE smartsupp_path ALTER title TYPE VARCHAR($length)";
}

sub wide { return 'ALTER TABLE smartsupp_path ALTER title TYPE TEXT' }

# What the database may say of a transaction that is to be repeated.
sub transient { return qw(40001 40P01 55P03 57P01) }

sub trigger {
    my ($self, $condition, $action) = @_;
    return ('DROP TRIGGER IF EXISTS refusal ON smartsupp_message',
        'CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql'
        . " AS \$\$ BEGIN IF $condition THEN $action; END IF; RETURN NEW;"
        . " END \$\$",
        'CREATE TRIGGER refusal BEFORE INSERT ON smartsupp_message'
        . ' FOR EACH ROW EXECUTE FUNCTION refuse()');
}

# How often PostgreSQL has ended a transaction because of a deadlock.
sub deadlocks {
    my ($self) = @_;
    return $self->value('SELECT deadlocks FROM pg_stat_database WHERE datname ='
        . ' current_database()');
}

1;
