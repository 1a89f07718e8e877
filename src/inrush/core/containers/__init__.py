"""The life of containers: started, ready, draining, gone, alone or as a cluster."""
