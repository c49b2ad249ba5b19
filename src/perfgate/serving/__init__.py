"""From an engine to a running Triton: model repository, process, readiness, server metrics."""
