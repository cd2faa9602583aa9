"""How long a plan of runs takes on more GPUs than are there: the real scheduler, in simulated time."""
