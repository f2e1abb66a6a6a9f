# What nginx promises about messages holds whatever a plugin does: the cases that did not, and some random scripts.

use strict;
use warnings;
use Test::More tests => 2;

$ENV{FRAMING_REQUESTS} = 2000;
$ENV{FRAMING_START} = 1;
my $output = `tools/framing 2>&1`;
is($?, 0, 'no finding') or diag $output;
like($output, qr/random scripts\n\d+ cases, 20\d\d requests, [1-9]\d* of them answered exactly as known/, 'all requests were sent');
