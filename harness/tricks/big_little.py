"""Big-Little: branches at two resolutions (Chen et al. 2019, "Big-Little Net"; in Assembled-CNN, Lee et al. 2020)."""

from harness.parts.models import with_fields
from harness.spec import Spec, declares


@declares("model.big_little")
def big_little(spec: Spec, alpha: int = 2, beta: int = 4) -> Spec:
    """Big-Little: most blocks see maps of half the sides, and a branch of few channels sees the whole maps beside them.

    Slot: `model.big_little`, neutral absent. Of each stage but the last: of n blocks n - 1 are at half the sides; a
    branch of n/`beta` - 1 has 1/`alpha` of the channels, each of the two at least one block; one more takes their sum.
    The stem's max-pool becomes two branches likewise. Half maps are doubled by their nearest neighbours, as both
    papers' code has it; shortcuts are the variant's, where that code pools them 3 x 3. Its evidence is the model's:
    what the live network is made of, and audits by a second writing of its forward. Raises Problem where the model is
    no ResNet of ours. A plan is refused where there is one stage, or `alpha` does not divide `model.width`.

    Hurts: not known; the program of Assembled-CNN warns that variant D with it may lose accuracy.

    Cost: less arithmetic: a ResNet-50-B falls from 4.1 to 3.0 GFLOPs, and grows by 1.5 M weights. At 256 px it has 3.9.
    """
    return with_fields(spec, "big_little", big_little=(alpha, beta))
