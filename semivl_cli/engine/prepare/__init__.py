"""What `semivl prepare` does before a training: data, weights, published checkpoints."""
