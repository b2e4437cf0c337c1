"""The room of words: class definitions and what becomes of them."""
