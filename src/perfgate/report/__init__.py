"""Renders a run: values in, text out; nobody writes a file here.

`content` holds what is said, `cells` and `numbers` how a row and a number are worded; `table`,
`markdown`, `html`, `junit` and `progress` are the forms, `plots` and `strips` the charts.
"""
