"""Example images of a trained network: Grad-CAM maps of mistakes, and segmentations over their images."""
