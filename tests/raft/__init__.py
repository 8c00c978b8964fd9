"""Raft's core: scripts in the grammar of etcd-io/raft's interaction tests, their printers, directed schedules."""
