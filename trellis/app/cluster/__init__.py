"""Many machines by Ray: a worker for each accelerator of a cluster's nodes, as tools of the engine."""
