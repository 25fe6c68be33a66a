"""A sweep on several machines: the plan in chunks, a copy of the model on each of a cluster's nodes, one driver.

Only the driver knows the plan and writes the outcome store. Its
:class:`~reasoning_probe.cluster.cluster_engine.ClusterEngine` has the face of the
:class:`~reasoning_probe.engine.engine.Engine`, and on each node an engine answers what it is sent.
"""
