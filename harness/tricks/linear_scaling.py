"""Linear scaling: the learning rate grows with the batch (He et al. 2019, section 3.1; Goyal et al. 2017)."""

from harness.spec import Spec, declares


@declares("optimizer.per")
def linear_scaling(spec: Spec) -> Spec:
    """linear scaling: the rate is that of a batch of 256, times batch size / 256.

    Slot: `optimizer.per`, neutral None: the rate as it is, whatever the batch. At a batch of 256 the two are the same
    rate. Its evidence is the highest rate used, which every optimizer proves.

    Hurts: at large batches without warmup, where the first steps diverge (Goyal et al. 2017, section 2.2).

    Cost: none.
    """
    return spec.but(optimizer=spec.optimizer.but(per=256))
