"""A probing session: settings, plan, model runner, and the Python API that runs the same session."""
