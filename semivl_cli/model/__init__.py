"""The room of tensors: encoder, similarity, decoder, guidance."""
