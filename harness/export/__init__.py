"""A trained network, to take away: weights, ONNX, and a model card made from its record; a command."""
