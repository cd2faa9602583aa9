"""Evidence: what a run's live objects showed, held against what its specification says.

The loop fills a `Trace` while it trains. At the first two steps, and at steps drawn at random that no part knows of, it
is audited: the batch is drawn, the network run and the step taken once more, by references that share no code with
what they check. Each evaluation is a witness too: which images came, what was answered, by which weights. Each part's
`proof` reads the trace, and `prove` adds what holds for every run. A run with a failed check is refused and enters no
table. `seen` digests the same objects, so that two runs can be told apart by what differed, not by what was asked for.
"""

from harness.evidence.audit import audited, watch
from harness.evidence.digests import apart, rates, seen
from harness.evidence.numbers import digest, held_by, rounded
from harness.evidence.products import Products, as_due
from harness.evidence.proofs import TURNED, TWICE, confirm, opinions, passing, prove, rehearse
from harness.evidence.trace import KEPT_BATCHES, KEPT_IMAGES, KEPT_PIXELS, Trace, Upstream, ordered, thinned
from harness.spec import Check
