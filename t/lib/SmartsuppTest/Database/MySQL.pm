package SmartsuppTest::Database::MySQL;

# MariaDB, through apr_dbd_mysql.

use strict;
use warnings;

use File::Temp ();

use SmartsuppTest::Database::Served ();
use SmartsuppTest::Process ();

our @ISA = ('SmartsuppTest::Database::Served');

sub server_name { return 'mariadb' }
sub driver      { return 'mysql' }

# The timeout that conf/ tells to set in the server's my.cnf, in a file of our
# own.
sub environment {
    my ($self) = @_;
    return {} if !$self->{shipped};
    my $folder = $self->{my_cnf} //= File::Temp->newdir('smartsupp-XXXXXXXX',
        DIR => '/var/tmp');
    chmod 0755, $folder;
    my ($group) = SmartsuppTest::Httpd::shipped('smartsupp_hook-mysql.conf')
        =~ /^#\s+(\[smartsupp_hook\]\n#\s+connect-timeout = \d+\n)/m
        or die "conf/ has no connect-timeout\n";
    SmartsuppTest::Process::spew("$folder/my.cnf", $group =~ s/^#\s+//mgr);
    return {MYSQL_HOME => "$folder"};
}

sub params {
    my ($self) = @_;
    return $self->shipped_params if $self->{shipped};
    return sprintf 'host=127.0.0.1,port=%d,user=%s,pass=%s,dbname=%s,'
        . 'reconnect=%d', $self->port, $self->user, $self->password,
        $self->name, $self->{reconnect} // 0;
}

sub schema       { return 'database()' }
sub type_columns { return 'column_type, NULL' }

my %type = ('tinyint(1)' => 'BOOLEAN', longtext => 'TEXT',
    text => 'TEXT of 64 KiB');

# It shows a width for integers that nobody has asked for.
sub type {
    my ($self, $type) = @_;
    return $type{$type} // ($type =~ /^(?:big)?int\b/
        ? uc($type =~ s/\(\d+\)//r =~ s/^int$/integer/r) : uc $type);
}

sub statistics { return 'ANALYZE TABLE smartsupp_message' }

sub refusal {
    my ($self, $channel, $words) = @_;
    return $self->trigger("NEW.channel_id = '$channel'",
        "SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = '$words'");
}

# Statements: the next messages that are inserted, so many, fail with this
# error number and these words. A sequence counts what is rolled back as well.
sub failure {
    my ($self, $times, $number, $words) = @_;
    return ('DROP SEQUENCE IF EXISTS failures', 'CREATE SEQUENCE failures',
        $self->trigger("nextval(failures) <= $times",
            "SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = $number,"
            . " MESSAGE_TEXT = '$words'"));
}

# Statements for the administrator: nobody may write any more, or log in while
# somebody is, or insert; and how it was before. They concern all databases of
# the server.
sub read_only { my ($self, $on) = @_; return 'SET GLOBAL read_only = '
    . ($on ? 1 : 0) }

sub full {
    my ($self, $on) = @_;
    return 'ALTER USER ' . $self->server->account
        . ' WITH MAX_USER_CONNECTIONS ' . ($on ? 1 : 0);
}

sub privilege {
    my ($self, $given) = @_;
    return ($given ? 'GRANT' : 'REVOKE') . ' INSERT ON ' . $self->name . '.* '
        . ($given ? 'TO' : 'FROM') . ' ' . $self->server->account;
}

# Statements: the titles of pages are so long at most; any length.
sub narrow {
    my ($self, $length) = @_;
    return "ALTER TABLE smartsupp_path MODIFY title VARCHAR($length)";
}

sub wide { return 'ALTER TABLE smartsupp_path MODIFY title LONGTEXT' }

# What the database may say of a transaction that is to be repeated.
sub transient { return qw(1213 1205) }

sub trigger {
    my ($self, $condition, $action) = @_;
    return ('DROP TRIGGER IF EXISTS refusal',
        'CREATE TRIGGER refusal BEFORE INSERT ON smartsupp_message'
        . " FOR EACH ROW IF $condition THEN $action; END IF");
}

sub deadlocks {
    my ($self) = @_;
    return ($self->rows("SHOW GLOBAL STATUS LIKE 'Innodb_deadlocks'"))[0]
        {Value};
}

1;
