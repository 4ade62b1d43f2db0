package SmartsuppTest::Status;

# What the status says, read from each of its forms, and told in the same
# words whichever it was: {server => {name => value}}, where a name is that of
# Prometheus without its prefix, with the value of its other label behind it:
#
#   counters(prometheus => get($httpd, '/status?format=prometheus')->{body})
#   {'www.example.com:80' => {received_total => 3,
#       'committed_total stored' => 2, ...}}
#
# Each reader dies where the form is not what it has to be.

use strict;
use warnings;

use Exporter qw(import);
use JSON::PP ();

our @EXPORT = qw(counters prometheus);

# All counters. The form is json, html, prometheus or auto.
sub counters {
    my ($form, $text) = @_;
    no strict 'refs';
    return &{"counters_in_$form"}($text);
}

sub counters_in_json {
    my ($text) = @_;
    my %found;
    for my $server (@{JSON::PP->new->utf8->decode($text)->{servers}}) {
        my $counters = $found{$server->{server}} = {};
        for my $family (qw(received committed spooled replayed rejected
            refused)) {
            my $value = $server->{$family} // die "no $family\n";
            $counters->{"${family}_total"} = $value if !ref $value;
            next if !ref $value;
            $counters->{"${family}_total $_"} = $value->{$_} for keys %$value;
        }
    }
    return \%found;
}

sub counters_in_html {
    my ($text) = @_;
    my %found;
    for my $section ($text =~ m{<section>(.*?)</section>}gs) {
        my ($name) = $section =~ m{<h2[^>]*>(.*?)</h2>} or die "no h2\n";
        my $counters = $found{unescaped($name)} = {};
        my ($table) = $section =~ m{<table>(.*?)</table>}s;
        while ($table =~ m{<tr>(.*?)</tr>}gs) {
            my ($family, $cause, $value) = $1 =~ m{<th\ scope="row">
                (\w+)(?::\ (\w+))?</th>.*<td\ class="number">(\d+)</td>}x
                or die "no row: $1\n";
            $counters->{join ' ', "${family}_total", $cause // ()} = $value;
        }
    }
    return \%found;
}

sub unescaped {
    my ($html) = @_;
    my %character = (lt => '<', gt => '>', quot => '"', amp => '&');
    return $html =~ s/&(\w+);/$character{$1} \/\/ die "&$1;\n"/ger;
}

# mod_status's keys, such as Smartsupp[0]RefusedTooLarge.
sub counters_in_auto {
    my ($text) = @_;
    my @hosts;
    push @{$hosts[$1]}, [$2, $3]
        while $text =~ /^Smartsupp\[(\d+)\](\w+): (.*)$/mg;
    my %found;
    for my $host (@hosts) {
        my %value = map { @$_ } @$host;
        my $counters = $found{$value{Server}} = {};
        for my $key (grep { /^(?:Received|Committed|Spooled|Replayed|Rejected
            |Refused)/x } keys %value) {
            my ($family, @cause) = map { lc } $key =~ /([A-Z][a-z]+)/g;
            $counters->{join ' ', "${family}_total", join('_', @cause) || ()}
                = $value{$key};
        }
    }
    return \%found;
}

sub counters_in_prometheus {
    my ($text) = @_;
    my %found;
    for my $series (@{prometheus($text)}) {
        my ($name, $labels, $value, $type) = @$series;
        next if $type ne 'counter';
        my %labels = %$labels;
        my $server = delete $labels{server};
        $name =~ s/^smartsupp_//;
        $found{$server}{join ' ', $name, values %labels} = $value;
    }
    return \%found;
}

# The text format 0.0.4, read strictly: [name, {labels}, value, type] for each
# series in their order. Dies with the line that breaks a rule: HELP, then
# TYPE, once a family, and right behind them all of its series, none of them
# twice; counters end in _total; buckets are cumulated up to +Inf, which is the
# count.
sub prometheus {
    my ($text) = @_;
    my (@series, %family, %seen, $name, $type);
    $text eq '' || $text =~ /\n\z/ or die "the last line does not end\n";
    for my $line (split /\n/, $text) {
        if ($line =~ /^# HELP ([a-z_]+) \S.*$/) {
            !$family{$1}++ or die "$1 is there twice\n";
            ($name, $type) = ($1, undef);
            next;
        }
        if ($line =~ /^# TYPE (\S+) (counter|gauge|histogram)$/) {
            $name && $1 eq $name && !$type or die "out of place: $line\n";
            $type = $2;
            ($type eq 'counter') == ($name =~ /_total$/) or die "$line\n";
            next;
        }
        my ($this, $labels, $value) = $line =~
            /^(\w+)\{((?:\w+="(?:[^"\\]|\\["\\n])*",?)*)\} (\d+(?:\.\d+)?)$/
            or die "no series: $line\n";
        my $suffix = $type && $type eq 'histogram'
            ? qr/_(?:bucket|sum|count)/ : qr//;
        $type && $this =~ /^\Q$name\E$suffix$/ or die "whose is $line\n";
        my %labels = labels($labels);
        !$seen{join "\0", $this, map { $_, $labels{$_} } sort keys %labels}++
            or die "twice: $line\n";
        push @series, [$this, \%labels, $value, $type];
    }
    check_histograms(@series);
    return \@series;
}

sub labels {
    my ($text) = @_;
    my %labels;
    while ($text =~ s/^(\w+)="((?:[^"\\]|\\.)*)"(?:,|$)//) {
        my ($name, $value) = ($1, $2);
        !exists $labels{$name} or die "the label $name twice\n";
        $labels{$name} = $value =~ s/\\(.)/$1 eq 'n' ? "\n" : $1/ger;
    }
    $text eq '' or die "no labels: $text\n";
    return %labels;
}

sub check_histograms {
    my %histogram;
    for my $series (grep { $_->[3] eq 'histogram' } @_) {
        my ($name, $labels, $value) = @$series;
        my ($base, $what) = $name =~ /^(.*)_(bucket|sum|count)$/;
        my %labels = %$labels;
        my $bound = delete $labels{le};
        defined $bound eq ($what eq 'bucket') or die "le of $name\n";
        my $one = $histogram{join "\0", $base, %labels} //= {buckets => []};
        if ($what eq 'bucket') { push @{$one->{buckets}}, [$bound, $value] }
        else                   { $one->{$what} = $value }
    }
    for my $name (sort keys %histogram) {
        my ($buckets, $sum, $count) = @{$histogram{$name}}{qw(buckets sum
            count)};
        defined $sum && defined $count or die "$name: no sum, no count\n";
        my $last = [-1, 0];
        for my $bucket (@$buckets) {
            my $bound = $bucket->[0] eq '+Inf' ? 9**9**9 : $bucket->[0];
            $bound > $last->[0] && $bucket->[1] >= $last->[1]
                or die "$name: @$bucket after @$last\n";
            $last = [$bound, $bucket->[1]];
        }
        $last->[0] == 9**9**9 && $last->[1] == $count
            or die "$name: +Inf is not the count\n";
    }
    return;
}

1;
