package SmartsuppTest::Database::SQLite;

# A file, through apr_dbd_sqlite3. DBI is loaded where it is used: make run does
# without.

use strict;
use warnings;

use SmartsuppTest::Process ();

our @ISA = ('SmartsuppTest::Database');

sub server_name { return undef }
sub create      { return }
sub driver      { return 'sqlite3' }
sub file        { return "$_[0]{folder}/smartsupp.db" }
sub params      { return $_[0]->file }
sub exists      { return -s $_[0]->file }

# Opened read-only and never created: the file is httpd's.
sub connect {
    require DBD::SQLite;
    return $_[0]->open_file(DBD::SQLite::OPEN_READONLY());
}

# A further handle that may write.
sub writer {
    require DBD::SQLite;
    return $_[0]->open_file(DBD::SQLite::OPEN_READWRITE());
}

sub open_file {
    my ($self, $flags) = @_;
    my $file = $self->file;
    die "no database at $file\n" if !-e $file;
    require DBI;
    return DBI->connect("dbi:SQLite:dbname=$file", '', '',
        {RaiseError => 1, PrintError => 0, sqlite_unicode => 1,
            sqlite_open_flags => $flags});
}

# Make the file, from a file of statements.
sub load {
    my ($self, $statements) = @_;
    require DBI;
    my $handle = DBI->connect('dbi:SQLite:dbname=' . $self->file, '', '',
        {RaiseError => 1, PrintError => 0,
            sqlite_allow_multiple_statements => 1});
    $handle->do(SmartsuppTest::Process::slurp($statements));
    $handle->disconnect;
    return;
}

# The names of all tables.
sub tables {
    my ($self) = @_;
    return @{$self->handle->selectcol_arrayref("SELECT name FROM sqlite_master"
        . " WHERE type = 'table' AND name NOT LIKE 'sqlite%' ORDER BY name")};
}

# Statements: gather statistics; refuse, with these words, the messages of the
# conversations with this channel.id.
sub statistics { return 'ANALYZE' }

sub refusal {
    my ($self, $channel, $words) = @_;
    return "CREATE TRIGGER refusal BEFORE INSERT ON smartsupp_message WHEN"
        . " NEW.channel_id = '$channel' BEGIN SELECT RAISE(ABORT, '$words');"
        . " END";
}

# The columns of a table or view as {name => type as declared}, in upper case.
sub columns {
    my ($self, $table) = @_;
    return {map { $_->{name} => uc $_->{type} }
        $self->rows("SELECT name, type FROM pragma_table_info(?)", $table)};
}

1;
