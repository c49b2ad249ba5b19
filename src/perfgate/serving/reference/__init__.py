"""The reference engine as a Triton python-backend model: what runs inside Triton's stub."""
