"""``tsdb cluster demo``: three nodes on this machine, a replicated database that is written to all the time, a node
that is killed and comes back, and a count of every point that was acknowledged meanwhile.

``nodes`` has the processes, ``writer`` writes and remembers what was acknowledged, ``story`` is what happens and what
is said of it.
"""
