"""From an engine spec to a built engine, checked and cached."""
