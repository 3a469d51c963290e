"""Training loops: one network with any optimiser, or many small networks at once.

An honest comparison needs tuned learning rates and several seeds: dozens of short trainings of
each competitor. A ``task.Task`` says what is to be learned, a ``plan.Plan`` for how long.
``loop.train`` is the plain loop; ``many.train_many`` trains many networks as one, and
``history.tuned`` picks the learning rate. Whoever trains with the same seed sees the same
minibatches in the same order, so that competitors can be compared in pairs.
"""
