"""The replicas of a node: its disk, its turns, its packets, and three nodes together."""
