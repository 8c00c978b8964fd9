"""Placement: which node should have which replica, and the way there. Pure: no clock, no chance, no I/O.

Life of a decision:

1. ``observed`` makes a *layout* of the group's records and the nodes' reports: nodes (zone, machine, capacity,
   draining, silent), locations (bytes, load, leader, voters, learners). Loads are means over minutes.
2. ``solver`` finds the *placement* that the layout should become: replicas in different zones and on different
   machines (``domains``), bytes and load even within ``limits.Bounds``, leaders even (``leaders``), with as little
   movement as that takes. It works on arrays (``filling``).
3. ``steps`` says what a location's next step is: add a learner, and when it has caught up, an epoch with it as a voter
   in the place of another. ``schedule`` says which of them are taken now, so many at once.
4. Steps become commands of the metadata group (``steps.action_of``), reports change, and all begins anew at 1. Nothing
   is remembered in between, so a crash anywhere is nothing special.

``plan`` runs 2 to 4 on a copy: the *dry run*, with the time it takes; ``table`` prints it.

Adding a node, draining one, replacing a lost one, another replication factor, another load: all are a layout that is
not as it should be, and the same four steps.

Beside it: which location has a point (``places``), by its bucket's map and, of a hot series, its slot; when a ring
gets its next map, since locations are too hot or idle (``division``); into how many slots a hot series is cut
(``spreading``).

A rebalance asks the solver with arcs of databases in the place of locations, and has goals written down in the place
of steps (``replicas.balance``, ``replicas.moving``); loads are those of ``storage.load``. Locations themselves are
neither split nor moved one by one: ARCHITECTURE.md says why.
"""
