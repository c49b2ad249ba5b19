"""A run's findings in the forms that other tools read: pure, values in, text or bytes out.

openmetrics       gauges for Prometheus: node_exporter's textfile collector, a push gateway
"""
