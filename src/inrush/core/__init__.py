"""The scheduler's pure part: it takes events and returns what has to be done, without IO, clock or chance. Begin at
`cluster.Cluster.step`."""
