package SmartsuppBench::Contestant::Spool;

# The module while its database is down, so that all it can do is spool. Two
# ways to be down, which differ in cost:
#
#   hung     the server accepts connections and never answers. The breaker is
#            open then, and nearly all deliveries go straight to the spool:
#            this is what the spool itself costs.
#   refused  nobody listens. Such a failure is fast, so the breaker stays
#            closed, and the writer tries to connect anew for each batch.

use strict;
use warnings;

use IO::Socket::INET ();

use SmartsuppBench::Body ();
use SmartsuppBench::Contestant::Ours ();
use SmartsuppTest::Delivery qw(post);

our @ISA = ('SmartsuppBench::Contestant::Ours');

# In place of the tests' own: nothing but the port leads anywhere.
my $conf = <<'CONF';
DBDriver pgsql
DBDParams "host=127.0.0.1 port=%d dbname=none user=none connect_timeout=2"
DBDMin 0
SmartsuppSpool "%%%%ROOT%%%%/db/spool"
SmartsuppSpoolMaxSize 64g
CONF

sub prepare {
    my ($self) = @_;
    $self->{port} = IO::Socket::INET->new(LocalAddr => '127.0.0.1',
        LocalPort => 0, Proto => 'tcp',
        $self->{kind} eq 'hung' ? (Listen => 128) : ())
        or die "no free port: $@\n";
    $self->make_httpd(sprintf($conf, $self->{port}->sockport) . $self->limit,
        modules => ['watchdog'], database => 'none');
    return;
}

# The first delivery waits, so that the breaker is open for the others.
sub start {
    my ($self) = @_;
    $self->SUPER::start;
    my $body = SmartsuppBench::Body->new(2);
    my $answer = post($self->{httpd}, $body->with($body->first));
    die "a delivery was answered $answer->{status}, not spooled\n"
        if $answer->{status} != 202;
    return;
}

# Not by deleting files: ext4 without a journal is slow to find an inode for a
# new one where many were deleted in the last minute.
sub clear {
    my ($self) = @_;
    my $httpd = $self->{httpd};
    my $folder = $httpd->path('db/spool/new');
    return if !-d $folder;
    rename $folder, $httpd->path('db/cleared.' . ++$self->{cleared})
        or die "$folder: $!\n";
    mkdir $folder, 0700 or die "$folder: $!\n";
    $httpd->give($folder);
    return;
}

sub kept {
    my ($self) = @_;
    return {conversations => scalar(() = $self->spooled)};
}

1;
