"""The pure part: it decides, and does nothing else. No IO, no clock, no chance; see `cluster.Cluster.step`."""
