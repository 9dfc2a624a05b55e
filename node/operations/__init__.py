"""What Samara does, each thing defined once for all doors."""
