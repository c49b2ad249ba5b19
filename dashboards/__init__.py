"""Dashboards as code: what they show, and the proof that it shows something."""
