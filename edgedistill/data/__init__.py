"""Tables, texts and files as examples: splits, batches and rows of packed text."""
