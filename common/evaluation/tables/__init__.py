"""Read and check tables of predictions, of labels and of readers."""
