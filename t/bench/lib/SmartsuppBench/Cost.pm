package SmartsuppBench::Cost;

# What processes cost: CPU time and memory, read from /proc.

use strict;
use warnings;

use Exporter qw(import);
use POSIX ();

use SmartsuppTest::Process qw(slurp);

our @EXPORT_OK = qw(cpu_seconds memory_mib);

# What these processes have used so far, with their children that have ended.
sub cpu_seconds {
    my (@pids) = @_;
    my $ticks = 0;
    for my $pid (@pids) {
        my $line = eval { slurp("/proc/$pid/stat") } // next;
        my ($numbers) = $line =~ /.*\) (.*)/s or next;
        my @field = split ' ', $numbers; # from the third, state, on
        $ticks += $_ for @field[11 .. 14];
    }
    return $ticks / POSIX::sysconf(&POSIX::_SC_CLK_TCK);
}

# The memory of these processes; what several share counts once.
sub memory_mib {
    my (@pids) = @_;
    my $kib = 0;
    for my $pid (@pids) {
        my $text = eval { slurp("/proc/$pid/smaps_rollup") } // '';
        $kib += $1 if $text =~ /^Pss:\s+(\d+)/m;
    }
    return $kib / 1024;
}

1;
