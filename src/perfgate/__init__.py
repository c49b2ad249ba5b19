"""Performance gate for LLM serving on TensorRT-LLM and Triton."""
