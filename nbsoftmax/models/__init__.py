"""Fitted models: prediction, the file, ONNX, calibration and statistical inference."""
