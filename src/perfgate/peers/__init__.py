"""Other load tools, as a cross-check of ours: what they recorded, read as a load of our own.

    records   perf_analyzer's, genai-perf's and aiperf's files to a LoadRun
    drive     the tools themselves, run where they are installed

Their stamps are taken over, their statistics are not: each number is computed by the formulas of
`measure.metrics`, so that two tools that disagree disagree about the server. What a file does not
say stays unsaid.
"""
