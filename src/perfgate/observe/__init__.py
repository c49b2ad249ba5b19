"""Looking at the machine and the server from beside the run: NVML, Triton's metrics, nsys."""
