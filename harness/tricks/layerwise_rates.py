"""Layer-wise learning rates (Howard and Ruder 2018, section 3.1; Clark et al. 2020; Bao et al. 2022)."""

from harness.parts.depth import by_depth
from harness.spec import Spec, declares


@declares("rates")
def layerwise_rates(spec: Spec, decay: float = 0.7) -> Spec:
    """layer-wise rates: each group of layers learns at `decay` times the rate of the one above it.

    Slot: `rates`, neutral absent. The head learns at the whole rate. Howard and Ruder divide by 2.6 a layer, BEiT
    takes .65 a block of its transformer.

    Hurts: a network that was not pretrained: its first layers learn too slowly.

    Cost: none.
    """
    return spec.but(rates=by_depth(spec).but(decay=decay))
