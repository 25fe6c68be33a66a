"""A sweep on several machines: a driver sends chunks of the plan to replicas of the model on a Ray cluster's nodes.

Only the driver knows the plan and writes the outcome store. Its
:class:`~reasoning_probe.cluster.cluster_engine.ClusterEngine` has the interface of the
:class:`~reasoning_probe.engine.engine.LocalEngine`, and each replica answers its chunks with such an engine.
"""
