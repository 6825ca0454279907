"""Adapt onnxruntime to the platform, by switches that can each be turned off."""
