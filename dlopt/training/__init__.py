"""Training loops: one network with any optimiser, or many small networks at once.

An honest comparison needs tuned learning rates and several seeds: dozens of short trainings of
each competitor. ``many.train_many`` does them as one batched network, ``history.tuned`` picks the
learning rate, and ``loop.train`` is the plain loop. Whoever trains with the same seed sees the same
minibatches in the same order, so that competitors can be compared in pairs.
"""
