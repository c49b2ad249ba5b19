"""A real decoder-only transformer in PyTorch, driven by the same scheduler as the simulated one."""
