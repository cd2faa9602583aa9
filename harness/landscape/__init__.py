"""Loss landscapes: of trained networks, and of the Rosenbrock function on a sphere.

    python -m harness.landscape nets digits baseline label_smoothing
    python -m harness.landscape rosenbrock

**nets** draws the loss of a study's trained networks around their weights, in the plane of two random directions. They
are filter-normalised (Li et al. 2018, section 4): of each normal draw every filter gets the length of the filter's own
weights, and what has no filters, biases and batch norm's γ and β, stays where it is. The draws are the same for all
rungs, parameter by parameter, where the shapes agree. The loss is cross-entropy against the labels alone, whatever the
rung was trained on, in float32, over training images that are evenly spaced and not augmented. Batch norm goes by the
running statistics of the trained weights, as Li et al. have it. Two numbers tell how sharp a minimum is: the mean rise
of the loss on the circle of radius 0.5 in that plane, which no rescaling of the filters changes, and SAM's own
(Foret et al. 2021), the rise at w + ρ·g/‖g‖ with its ρ of 0.05, to which the scale of the weights matters.

**rosenbrock** is the toy example of Heo et al. 2021 (AdamP): momentum lengthens weights whose length means nothing, and
so shortens its own steps; the projection Π_w leaves that out. The function is h = (1 - x)² + 300 (y - x²)² of the
angles, extended along the radius; their text gives its norms, from 1: 3.2 for GD with momentum, 2.53 with weight decay,
1.12 with the projection. What that text leaves open is read from the drawings on their page
(https://clovaai.github.io/AdamP/, sgd_3d_toy.svg, sgd_wd_3d_toy.svg, sgdp_3d_toy.svg), which have the place after each
of 200 steps:

- (x, y) = 1.5 · (longitude, latitude), from (-2, 2); the minimum is at (1, 1);
- a step goes by the direction of the gradient, g/‖g‖, with momentum 0.9, at a rate that falls linearly to 0;
- weight decay is L2, 0.05; the projected step is what momentum keeps;
- the rates differ: 0.054888, 0.07042 and 0.043848, those of five digits with which the drawn steps are followed
  longest, the first 63, 128 and 42 of them to within 0.01 in x and y.

From there on steps jump across the valley, and digits that no drawing has decide. So norms and losses are told for
rates up to 1 % off, too. The 2.53 is the greatest norm of its way, which by their drawing ends at 0.84.
"""
