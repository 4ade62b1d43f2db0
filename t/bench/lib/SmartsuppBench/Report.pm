package SmartsuppBench::Report;

# What was measured, for people: tables in Markdown.

use strict;
use utf8;
use warnings;

use Exporter qw(import);
use List::Util qw(max min sum);

our @EXPORT_OK = qw(median spread table measured traced ratios
    ratio_table whole milliseconds);

sub median {
    my @sorted = sort { $a <=> $b } @_;
    return undef if !@sorted;
    my $middle = int(@sorted / 2);
    return @sorted % 2 ? $sorted[$middle]
        : ($sorted[$middle - 1] + $sorted[$middle]) / 2;
}

# {median, lowest, highest}.
sub spread {
    my (@values) = @_;
    return {median => median(@values), lowest => min(@values),
        highest => max(@values)};
}

# A number with commas: 12,345.
sub whole {
    my $text = sprintf '%.0f', $_[0];
    1 while $text =~ s/^(-?\d+)(\d{3})/$1,$2/;
    return $text;
}

sub milliseconds {
    my $ms = $_[0] / 1000;
    return sprintf $ms < 10 ? '%.2f' : '%.0f', $ms;
}

# Rows of texts as a Markdown table; the first one is the head. All columns but
# the first are numbers.
sub table {
    my (@rows) = @_;
    my @width;
    for my $row (@rows) {
        $width[$_] = max($width[$_] // 3, length $row->[$_]) for 0 .. $#$row;
    }
    my $line = sub {
        my ($row) = @_;
        return '| ' . join(' | ', map { sprintf $_ ? "%$width[$_]s"
            : "%-$width[$_]s", $row->[$_] } 0 .. $#$row) . " |\n";
    };
    my ($head, @body) = @rows;
    return $line->($head)
        . '|' . join('|', map { $_ ? '-' x ($width[$_] + 1) . ':'
            : '-' x ($width[0] + 2) } 0 .. $#width) . "|\n"
        . join '', map { $line->($_) } @body;
}

sub label {
    my ($cell) = @_;
    return $cell->{contestant}
        . ($cell->{variant} ? " ($cell->{variant})" : '');
}

# One table for each size of body.
sub measured {
    my (@cells) = @_;
    my $text = '';
    my %seen;
    for my $size (grep { !$seen{$_}++ } map { $_->{size} } @cells) {
        my @rows = ['', qw(connections deliveries/s lowest-highest), 'p50 ms',
            'p99 ms', 'p99.9 ms', 'CPU µs', 'MiB'];
        for my $cell (grep { $_->{size} == $size } @cells) {
            my $per_second = $cell->{per_second};
            push @rows, [label($cell), $cell->{connections},
                whole($per_second->{median}), whole($per_second->{lowest})
                    . '-' . whole($per_second->{highest}),
                (map { milliseconds($cell->{$_}{median}) }
                    qw(p50 p99 p99_9)), whole($cell->{cpu_us}{median}),
                $cell->{memory}{median} ? whole($cell->{memory}{median}) : ''];
        }
        $text .= "Bodies of $size KB:\n\n" . table(@rows) . "\n";
    }
    return $text;
}

sub traced {
    my (@traced) = @_;
    return '' if !@traced;
    my @rows = ['Per delivery', 'connections', 'fsyncs', 'round trips'];
    for my $cell (@traced) {
        push @rows, [label($cell), $cell->{connections},
            map { defined $_ ? sprintf '%.2f', $_ : '' }
                @$cell{qw(fsyncs round_trips)}];
    }
    return table(@rows) . "\n";
}

# The ratios that are promised: [what, connections, value]. What comes alone
# passes httpd and the database: it cannot take less than both take by
# themselves.
my @ratios = (
    (map { my $connections = $_;
        ['ours-sqlite / pdo-sqlite', $connections, 'per_second'],
        ['ours-sqlite / script', $connections, 'per_second'],
        ['ours-postgresql / pdo-postgresql', $connections, 'per_second'],
        ['ours-mariadb / pdo-mariadb', $connections, 'per_second'],
        ['ours-postgresql / loop-postgresql', $connections, 'per_second'],
        ['ours-postgresql / loopone-postgresql', $connections, 'per_second'],
        ['spool-hung / script', $connections, 'per_second'],
        ['spool-refused / script', $connections, 'per_second'],
    } 16, 64),
    (map { ["ours-$_ / loop-$_", 1, 'p50'],
        ["ours-$_ / loop-$_ + body", 1, 'p50'] }
        qw(sqlite postgresql mariadb)),
    ['ours-postgresql / loopone-postgresql', 1, 'p50'],
    ['ours-postgresql / loopone-postgresql + body', 1, 'p50'],
);

# Each of them for each size and each variant of ours, where both sides were
# measured: a list of {what, size, variant, connections, of, ratio}. A ratio is
# that of one round, of which the median and the ends are kept.
sub ratios {
    my (@cells) = @_;
    my @found;
    for my $ratio (@ratios) {
        my ($what, $connections, $value) = @$ratio;
        my ($above, $below) = split m{ / }, $what;
        my @here = grep { $_->{connections} == $connections } @cells;
        for my $ours (grep { $_->{contestant} eq $above } @here) {
            my @others = map { like($ours, $_, @here) // () }
                my @names = split / \+ /, $below;
            next if @others < @names;
            my @both = grep { my $round = $_;
                !grep { !$_->{rounds}[$round] } $ours, @others }
                0 .. $#{$ours->{rounds}};
            push @found, {what => $what, size => $ours->{size},
                variant => $ours->{variant}, connections => $connections,
                of => $value, ratio => spread(map { my $round = $_;
                    $ours->{rounds}[$round]{$value}
                        / (sum(map { $_->{rounds}[$round]{$value} } @others)
                            || 1) } @both)} if @both;
        }
    }
    return @found;
}

# The cell of that contestant which is to be compared with ours: of its variant
# where there is one.
sub like {
    my ($ours, $name, @cells) = @_;
    my @found = grep { $_->{contestant} eq $name
        && $_->{size} == $ours->{size} } @cells;
    my ($same) = grep { $_->{variant} eq $ours->{variant} } @found;
    return $same // $found[0];
}

sub ratio_table {
    my (@found) = @_;
    return '' if !@found;
    my %words = (per_second => 'deliveries/s', p50 => 'p50');
    return table(['Ratio', 'of', 'connections', 'KB', 'median',
        'lowest-highest'], map {
        [$_->{what} . ($_->{variant} ? " ($_->{variant})" : ''),
            $words{$_->{of}}, @$_{qw(connections size)},
            sprintf('%.2f', $_->{ratio}{median}), sprintf '%.2f-%.2f',
            @{$_->{ratio}}{qw(lowest highest)}] } @found) . "\n";
}

1;
