"""What the checks of every run are called, in the evidence table. The code knows a check by the name before it."""

STEPS = {
    "batches": "batches trained on",
    "steps": "steps",
    "forwards": "forward passes in training",
    "awake": "modules in training mode while evaluating",
    "uneven": "steps whose parameter groups had different rates",
    "once": "parameters in the optimizer, each once",
    "linear": "linear layers whose weights moved",
    "ranks": "ranks that end with the same weights, after as many passes",
    "amiss": "labels, of all steps, that are not those of the order drawn",
    "drawn": "initial weights drawn anew, {told:.0f} of {every:.0f} parameters: gap",
}
AUDITS = {
    "audits": "steps audited at random, of {steps:,}: what goes on in {share:.2g} % of steps or more"
    " is met with chance {sure:g}",
    "errors": "audits that could not be done",
    "augmented": "images of audited steps that augmentation changed",
}
COUNTED = {  # of audited steps, things of which there must be none
    "passes": "audited steps whose passes were not those due",
    "labels": "labels of audited steps that are not those of the data",
    "frozen": "parameters that asked for a gradient otherwise than is due at an audited step",
    "missing": "parameters without a gradient at an audited step",
    "handed": "audited steps whose weights, or optimizer, are not as the step before left them",
    "decayed": "parameters that the optimizer decays otherwise at an audited step",
    "apart": "ranks whose weights, gradients or teachers are others at an audited step",
    "taught": "teachers whose weights are others at an audited step",
    "returned": "weights and buffers that training goes on from otherwise than is due after an average",
    "asleep": "modules that were not in training mode at an audited step",
}
GAPS = {  # of audited steps, what is how far from its reference
    "images": "images that the network got, from the data and the draws",
    "targets": "targets that the loss got",
    "slopes": "gradient of the loss by the logits",
    "loss": "loss",
    "logits": "logits of the network, run again",
    "climb": "way of the weights to where another gradient is taken",
    "gradients": "gradient of every parameter",
    "statistics": "running statistics",
    "clipped": "gradients as they were clipped",
    "steps": "step of every parameter",
    "averaged": "averages of the weights",
    "state": "what the optimizer holds after it",
}
TESTS = {
    "evaluations": "evaluations",
    "few": "evaluations that were not of every image of their split",
    "strangers": "images evaluated that are not the split's own, in order and unaugmented",
    "marks": "losses and accuracies, from the answers and the data's labels: gap",
    "again": "answers of a batch drawn at random, given again: gap",
    "other": "evaluations of another precision than the specification's",
    "others": "evaluations by other weights than those trained",
    "last": "the weights that are kept are those tested last",
    "best": "they are those of epoch {best}, which the specification says",
    "losses": "training losses that are reported, from those of the steps: gap",
    "right": "evaluations whose images reported right were answered otherwise",
}
SPLITS = {
    "shared": "test images that are training images, to the byte",
    "held": "held-out images that are {split} images, to the byte",
    "learned": "images tested here that its teacher learned",
    "began": "images tested here that its backbone learned",
}
RESULTS = {
    "told": "evaluations of which a result can tell",
    "scores": "scores that are reported, from the answers: gap",
    "epochs": "scores of each epoch that are reported: gap",
    "fields": "fields of the result that are not what was seen",
    "network": "the network that is handed over is the one tested last",
    "known": "parts known by a second opinion",
}
