"""These tests need the extra `dashboards`; without it they are not collected at all."""

import importlib.util

collect_ignore_glob = [] if importlib.util.find_spec("grafana_foundation_sdk") else ["test_*.py"]
