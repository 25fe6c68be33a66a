"""The pytest plugin: options, collection, fixtures, verdicts, the gate and reports. Only this package knows pytest."""
